"""Registers the built-in components of the family `masks`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl

HubId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


class EdgeOptions(Options):
    """What all built-in maskers do to the edge of a mask. Lengths are pixels of the processed video."""

    grow: int = Field(3, ge=0, le=200, description="by how many pixels the subject is made wider on all sides")
    feather: int = Field(2, ge=0, le=200, description="over how many pixels the mask fades outside of that; 0: hard")


class FoundOptions(EdgeOptions):
    """What maskers that find things share."""

    keep: Literal["points", "all"] = Field(
        "points", description='"points": only what holds the points, followed through time; "all": all that is found'
    )


class FilesOptions(EdgeOptions):
    """Options of `files`."""

    path: InputPath = Field(description="a folder of mask pictures, or a video of masks")
    threshold: int = Field(128, ge=1, le=255, description="from this value on a pixel is the subject")


class U2NetOptions(FoundOptions):
    """Options of `u2net`."""

    model: InputPath = Field(description="a U^2-Net or IS-Net as an ONNX file: u2netp, u2net, isnet of rembg fit")
    threshold: float = Field(0.5, gt=0, lt=1, description="from this likelihood on a pixel is the subject")
    normalisation: Literal["imagenet", "isnet"] = Field(
        "imagenet", description='how the model was trained to see colours: "isnet" for rembg\'s IS-Net files'
    )


_WORDS_READ = 75
"""A text encoder of Stable Diffusion reads 77 tokens: start, 75 of the prompt (each word is one or more), end."""


class AttentionOptions(FoundOptions):
    """Options of `attention`."""

    subject: str = Field(
        min_length=1, pattern=r"\S", description="the subject's word or words, as they stand in the prompt"
    )
    prompt: str = Field(
        "a photo of a {subject}",
        description="text of the U-Net pass; {subject} is the subject's words; first place counts",
    )
    timesteps: tuple[Annotated[int, Field(ge=0, le=999)], ...] = Field(
        (261,), min_length=1, description="timesteps of the noise added, of 1000; the attention is averaged over them"
    )
    ensemble: int = Field(4, ge=1, description="noises that a frame's attention is averaged over")
    scales: tuple[Literal[1, 2, 4, 8], ...] = Field(
        (2, 4),
        min_length=1,
        description="which layers are read: those whose cells are so many latent cells wide (2: 1/16 of the picture)",
    )
    threshold: float = Field(
        0.3, gt=0, lt=1, description="from this share of the frame's largest attention on a pixel is the subject"
    )
    batch: int = Field(
        8, ge=1, description="U-Net passes at once: frames times noises; more is faster and takes more memory"
    )

    @property
    def text(self) -> str:
        """The prompt with the subject's words in it, single spaces between words."""
        return _spaced(self.prompt.replace("{subject}", self.subject))

    @property
    def place(self) -> tuple[int, int] | None:
        """Where in `text` the subject's words first stand as whole words, in any case: (start, end) of characters."""
        import re

        words = re.search(rf"(?<!\w){re.escape(_spaced(self.subject))}(?!\w)", self.text, re.IGNORECASE)
        return words.span() if words else None

    @model_validator(mode="after")
    def _subject_is_read(self) -> Self:
        place = self.place
        if place is None:
            raise ValueError(
                f"subject: {self.subject!r} is not in the prompt {self.text!r}; write {{subject}} in the prompt, or "
                "take words that stand in it"
            )
        if len(self.text[: place[1]].split()) > _WORDS_READ:
            raise ValueError(unread(self.subject))
        return self


class Sam2Options(EdgeOptions):
    """Options of `sam2`. The device and the number type are the run's own (`device`, `dtype`)."""

    weights: InputPath | HubId = Field(
        "facebook/sam2.1-hiera-small",
        union_mode="left_to_right",
        description="a folder that transformers wrote, or owner/name of a model on the hub",
    )
    hub_revision: str | None = Field(None, description="branch, tag or commit of the model on the hub")
    threshold: float = Field(0.5, gt=0, lt=1, description="above this likelihood a pixel is the subject")


def unread(subject: str) -> str:
    """What is wrong with a prompt that is cut off before the subject's words end."""
    return f"subject: {subject!r} stands beyond the 77 tokens of the prompt that are read; put it nearer to the start"


def _spaced(text: str) -> str:
    return " ".join(text.split())


@hookimpl
def vswap_masks() -> Iterable[ComponentSpec]:
    """Masks from files, from a salient-object network that runs on a laptop, from the backbone's attention, and of the
    object that the points are on."""
    yield ComponentSpec(
        "files",
        "vswap_masks.files:Files",
        FilesOptions,
        "masks read from a folder of pictures or a video",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
        preflight="vswap_masks.files:preflight",
    )
    yield ComponentSpec(
        "u2net",
        "vswap_masks.u2net:U2Net",
        U2NetOptions,
        "the salient subject, found by a U^2-Net in ONNX",
        requires=("onnxruntime", "cv2"),
        install="pip install 'vswap[onnx,opencv]'",
        preflight="vswap_masks.u2net:preflight",
    )
    yield ComponentSpec(
        "attention",
        "vswap_masks.attention:Attention",
        AttentionOptions,
        "where the backbone's cross-attention sees the subject's words",
        requires=("torch", "diffusers", "cv2"),
        install="pip install 'vswap[diffusion,opencv]'",
        accepts={"backbone": ("sd15-unet",)},
        seeded=True,
    )
    yield ComponentSpec(
        "sam2",
        "vswap_masks.sam2:Sam2",
        Sam2Options,
        "the object that the points are on, followed both ways by Segment Anything 2",
        requires=("torch", "transformers", "cv2"),
        install="pip install 'vswap[diffusion,opencv]'",
        preflight="vswap_masks.sam2_weights:preflight",
        licence="Apache-2.0 (code and weights)",
    )
