"""Registers the built-in embedders. Light: the implementing module is imported on first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl

HubId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]

_REFERENCE = {"whole_pixels": True, "only_visible": False}


class DiftOptions(Options):
    """Options of `dift`. The defaults of level, t, ensemble, threshold and prompt are the reference's."""

    preset: Literal["default", "reference"] = Field(
        "default", description="reference: whole_pixels on and only_visible off, unless given"
    )
    level: int = Field(1, ge=0, le=3, description="up-block of the U-Net whose output is the feature")
    t: int = Field(261, ge=0, le=999, description="timestep of the noise added, of 1000")
    ensemble: int = Field(8, ge=1, description="noises that a feature is averaged over")
    threshold: float | None = Field(
        0.35, ge=-1, le=1, description="least cosine to the feature on the keyframe for a point to be kept; null: any"
    )
    prompt: str = Field("photo of a {subject}", description="text of the U-Net pass; {subject} is points.subject")
    only_visible: bool = Field(
        True, description="keep points only where the tracker sees them; off: wherever the cosine says so"
    )
    whole_pixels: bool = Field(
        False, description="read at rounded positions, negative ones counted from the opposite edge, as the reference"
    )
    batch: int = Field(
        8, ge=1, description="U-Net passes at once: frames times noises; more is faster and takes more memory"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        reference = isinstance(values, dict) and values.get("preset") == "reference"
        return _REFERENCE | values if reference else values


class Dinov2Options(Options):
    """Options of `dinov2`. The device and the number type are the run's own (`device`, `dtype`)."""

    weights: InputPath | HubId = Field(
        "facebook/dinov2-base",
        union_mode="left_to_right",
        description="a folder that transformers wrote (with or without registers), or owner/name of a model on the hub",
    )
    hub_revision: str | None = Field(None, description="branch, tag or commit of the model on the hub")
    layer: int | None = Field(
        None, ge=1, description="block (from 1) whose output, normalised as the last one's, is the feature; null: last"
    )
    patches: int = Field(
        37, ge=1, description="patches on the frame's short side; 37 (518 pixels) is the finest of DINOv2's training"
    )
    threshold: float | None = Field(
        0.5, ge=-1, le=1, description="least cosine to the feature on the keyframe for a point to be kept; null: any"
    )
    batch: int = Field(4, ge=1, description="frames at once; more is faster and takes more memory")


@hookimpl
def vswap_embedders() -> Iterable[ComponentSpec]:
    """`dift` and its two ablations, and `dinov2`."""
    yield ComponentSpec(
        "dift",
        "vswap_embedders.dift:Dift",
        DiftOptions,
        "diffusion features of the backbone at the points, averaged over the frames where they still look the same",
        requires=("torch", "diffusers"),
        install="pip install 'vswap[diffusion]'",
        accepts={"backbone": ("sd15-unet",)},
        capabilities=("feature-maps",),
        seeded=True,
    )
    yield ComponentSpec(
        "dinov2",
        "vswap_embedders.dinov2:Dinov2",
        Dinov2Options,
        "patch features of a DINOv2 vision transformer at the points; needs no backbone",
        requires=("torch", "transformers"),
        install="pip install 'vswap[diffusion]'",
        capabilities=("feature-maps",),
        preflight="vswap_embedders.dinov2_weights:preflight",
        licence="Apache-2.0 (code and weights)",
    )
    yield ComponentSpec(
        "learned",
        "vswap_embedders.featureless:Learned",
        summary="a free vector for each point, learnt by the swapper's registration; looks at nothing",
    )
    yield ComponentSpec(
        "position",
        "vswap_embedders.featureless:Position",
        summary="the same for every point: only where points are counts; looks at nothing",
    )
