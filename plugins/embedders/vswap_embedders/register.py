"""Registers the built-in embedders. Light: the implementing module is imported on first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, model_validator

from vswap_kernel.api import ComponentSpec, Options, hookimpl

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


@hookimpl
def vswap_embedders() -> Iterable[ComponentSpec]:
    """`dift`, and its two ablations."""
    yield ComponentSpec(
        "dift",
        "vswap_embedders.dift:Dift",
        DiftOptions,
        "diffusion features of the backbone at the points, averaged over the frames where they still look the same",
        requires=("torch", "diffusers"),
        install="pip install 'vswap[diffusion]'",
        accepts={"backbone": ("sd15-unet",)},
        seeded=True,
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
