"""Registers the built-in components of the family `concept`, and `vswap concept train`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, NoOptions, Options, hookimpl

if TYPE_CHECKING:
    import typer


class PhotoOptions(Options):
    """Options of `photo`."""

    image: InputPath = Field(description="picture of the new subject: PNG with transparency, or any picture")
    points: InputPath = Field(description="points file set on that picture, with the names of the video's points")
    mask: InputPath | None = Field(
        None, description="black and white picture of the same size, white where the subject is"
    )
    model: InputPath | None = Field(None, description="U^2-Net ONNX file that cuts the subject out")


class EdLoraOptions(Options):
    """Options of `ed-lora`."""

    weights: InputPath = Field(description="the concept: .safetensors, or the reference's .pth")
    strength: float = Field(1.0, ge=0, le=2, description="alpha: how much of the learned change is applied")
    text_strength: float | None = Field(None, ge=0, le=2, description="the same for the text encoder; none: equal")


@hookimpl
def vswap_concepts() -> Iterable[ComponentSpec]:
    """`photo`, `ed-lora` and `text`."""
    yield ComponentSpec(
        "photo",
        "vswap_concepts.photo:Photo",
        PhotoOptions,
        "a picture of the new subject, cut out by its transparency, a mask or U^2-Net",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
        capabilities=("cutout",),
        preflight="vswap_concepts.photo:preflight",
    )
    yield ComponentSpec(
        "ed-lora",
        "vswap_concepts.ed_lora:EdLoraConcept",
        EdLoraOptions,
        "a subject learned from photos: ED-LoRA's own words and low-rank changes",
        requires=("torch", "transformers"),
        install="pip install 'vswap[diffusion]'",
        accepts={"backbone": ("sd15-unet",)},
        capabilities=("prompt",),
        preflight="vswap_concepts.ed_lora:preflight",
    )
    yield ComponentSpec(
        "text",
        "vswap_concepts.text:Text",
        NoOptions,
        "a subject that the diffusion model knows by its word",
        accepts={"backbone": ()},
        capabilities=("prompt",),
    )


@hookimpl
def vswap_cli(app: typer.Typer) -> None:
    """Adds `vswap concept train`."""
    from vswap_concepts.training.commands import add_commands

    add_commands(app)
