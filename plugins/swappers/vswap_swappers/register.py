"""Registers the built-in components of the family `swapper`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from vswap_kernel.api import SWAP_ONLY, ComponentSpec, Options, hookimpl
from vswap_swappers.point_diffusion.options import PointDiffusionOptions


class WarpOptions(Options):
    """Options of `warp`. The first two make the clean plate; another value of the others reuses it."""

    reach: int = Field(120, ge=1, description="how many frames away background is looked for that the subject hides")
    shadow: float = Field(
        0.12, ge=0, le=1, description="how far below the subject no background is taken from, as a share of its height"
    )
    model: Literal["similarity", "affine", "thin-plate"] = Field(
        "thin-plate", description="how far the cut-out may deform to follow the points", json_schema_extra=SWAP_ONLY
    )
    stiffness: float = Field(
        0.3,
        ge=0,
        description="of the thin plate: 0 follows every point exactly, large values keep the cut-out rigid",
        json_schema_extra=SWAP_ONLY,
    )
    shape: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the old subject's proportions that the new one takes over (thin-plate)",
        json_schema_extra=SWAP_ONLY,
    )
    smoothing: float = Field(
        1.0,
        ge=0,
        le=30,
        description="smoothing of the motion over time, standard deviation in frames; 0: none",
        json_schema_extra=SWAP_ONLY,
    )
    mirror: Literal["auto", "never", "always"] = Field(
        "auto",
        description="mirror the cut-out; auto: when its points fit clearly better that way",
        json_schema_extra=SWAP_ONLY,
    )
    feather: float = Field(
        0.7,
        ge=0,
        le=20,
        description="softness of the new subject's edge in pixels of the video",
        json_schema_extra=SWAP_ONLY,
    )
    colour_match: float = Field(
        0.25,
        ge=0,
        le=1,
        description="how far the cut-out's lightness is matched to the scene; its hue is kept",
        json_schema_extra=SWAP_ONLY,
    )
    occlusion: bool = Field(
        True,
        description="keep what passes in front of the old subject in front of the new one",
        json_schema_extra=SWAP_ONLY,
    )


@hookimpl
def vswap_swappers() -> Iterable[ComponentSpec]:
    """`point-diffusion` and `warp`."""
    yield ComponentSpec(
        "point-diffusion",
        "vswap_swappers.point_diffusion.swapper:PointDiffusion",
        PointDiffusionOptions,
        "VideoSwap: points registered on the source carry its motion to a new subject of a diffusion model",
        requires=("torch", "diffusers", "cv2"),
        install="pip install 'vswap[diffusion,opencv]'",
        accepts={"backbone": ("sd15-unet",), "motion": (), "concept": ("prompt",), "embedder": ()},
        preflight="vswap_swappers.point_diffusion.preflight:preflight",
        seeded=True,
        prepare_reads=("tracks", "embeddings", "prompt", "backbone", "motion"),
    )
    yield ComponentSpec(
        "warp",
        "vswap_swappers.warp:Warp",
        WarpOptions,
        "a cut-out picture carried by the points over a clean plate; needs masks, no weights",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
        accepts={"concept": ("cutout",), "masks": ()},
        prepare_reads=("masks",),
    )
