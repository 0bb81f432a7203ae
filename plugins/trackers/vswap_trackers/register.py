"""Registers the built-in components of the family `tracker`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vswap_kernel.api import ComponentSpec, Options, hookimpl


class LucasKanadeOptions(Options):
    """Options of `lucas-kanade`. Lengths are pixels of the processed video."""

    window: int = Field(11, ge=5, le=101, description="side of the square in which the flow is taken as one shift")
    levels: int = Field(4, ge=0, le=8, description="pyramid levels above full size: each doubles the reach")
    max_error: float = Field(
        1.5, gt=0, description="a point is hidden when tracking it back to the frame before misses by more"
    )
    min_correlation: float = Field(
        0.5, ge=-1, le=1, description="a point is hidden when its patch correlates less with how it looked lately"
    )
    found_correlation: float = Field(
        0.8, ge=-1, le=1, description="a hidden point counts as found again, or as unmoved, from this correlation on"
    )
    stray: float = Field(
        0.6,
        gt=0,
        description="a point is hidden when it is farther from where the common motion carries it than this share of "
        "the points' extent; less for stiff subjects, more for limbs that swing far",
    )
    search_radius: int = Field(8, ge=1, le=64, description="how far from its expected place a hidden point is sought")


@hookimpl
def vswap_trackers() -> Iterable[ComponentSpec]:
    """Optical flow on a laptop."""
    yield ComponentSpec(
        "lucas-kanade",
        "vswap_trackers.lucas_kanade:LucasKanade",
        LucasKanadeOptions,
        "pyramidal Lucas-Kanade, both ways from each keyframe, with forward-backward and patch checks",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
    )
