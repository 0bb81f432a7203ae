"""Registers the built-in components of the family `tracker`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from vswap_kernel.api import ComponentSpec, hookimpl
from vswap_trackers.options_models import (
    CoTrackerOptions,
    FileOptions,
    OnnxOptions,
    PlausibleOptions,
    PoseOptions,
    TapirOptions,
    ToyTrackOptions,
)

if TYPE_CHECKING:
    import typer


class LucasKanadeOptions(PlausibleOptions):
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


def _at_least_hide(show: float, info: ValidationInfo) -> float:
    hide = info.data.get("hide", 0.0)
    if show < hide:
        raise ValueError(f"{show} is less than hide ({hide}): points would flicker; raise show, or lower hide")
    return show


class DisFlowOptions(PlausibleOptions):
    """Options of `dis-flow`."""

    short_side: int = Field(
        240, ge=32, le=2160, description="pixels to which the shorter side is scaled: more is finer and slower"
    )
    gaps: tuple[PositiveInt, ...] = Field(
        (1, 2, 4), min_length=1, description="how many frames ahead the flow is computed; 1 must be among them"
    )
    max_error: float = Field(
        4.0, gt=0, description="scaled pixels by which the flow back misses the start where a point is half trusted"
    )
    hide: float = Field(0.25, ge=0, le=1, description="a point is hidden when it is trusted less")
    show: float = Field(
        0.35, ge=0, le=1, validate_default=True, description="a hidden point is visible again from this trust on"
    )

    @field_validator("gaps")
    @classmethod
    def _start_at_one(cls, gaps: tuple[int, ...]) -> tuple[int, ...]:
        if 1 not in gaps:
            raise ValueError("1 must be among the gaps: it is the only one that every frame has")
        return tuple(sorted(set(gaps)))

    _not_below_hide = field_validator("show")(_at_least_hide)


class FeatureMatchOptions(PlausibleOptions):
    """Options of `feature-match`. Lengths are pixels of the processed video."""

    window: float = Field(
        24.0, gt=0, description="how far from its expected place a point is sought, each way; a cell at least"
    )
    max_error: float = Field(
        12.0, gt=0, description="pixels by which the search back may miss the start where a point is half trusted"
    )
    hide: float = Field(0.35, ge=0, le=1, description="a point is hidden when it is trusted less")
    show: float = Field(
        0.6, ge=0, le=1, validate_default=True, description="a hidden point is visible again from this trust on"
    )

    _not_below_hide = field_validator("show")(_at_least_hide)


class EnsembleOptions(PlausibleOptions):
    """Options of `ensemble`."""

    trackers: tuple[dict[str, Any], ...] = Field(
        ({"name": "lucas-kanade"}, {"name": "dis-flow"}, {"name": "toytrack"}),
        min_length=1,
        validate_default=True,
        description="the members, each a name and options, as in {name: dis-flow, short_side: 360}",
    )
    cycle: PositiveInt | None = Field(
        8, description="frames from one check of the way back to the next; null: none, three times as fast"
    )
    agree: float = Field(3.0, gt=0, description="pixels within which members say the same")
    max_error: float = Field(
        4.0, gt=0, description="pixels by which the way back may lie beside the way there where weight is halved"
    )
    hide: float = Field(0.4, ge=0, le=1, description="a point is hidden when less of the weights sees it")
    show: float = Field(
        0.5,
        ge=0,
        le=1,
        validate_default=True,
        description="a hidden point is visible again when that much of them does",
    )

    @field_validator("trackers")
    @classmethod
    def _check_members(cls, trackers: tuple[dict[str, Any], ...], info: ValidationInfo) -> tuple[dict[str, Any], ...]:
        from vswap_trackers.members import checked_members

        return tuple(checked_members(trackers, info.context))

    _not_below_hide = field_validator("show")(_at_least_hide)


@hookimpl
def vswap_cli(app: typer.Typer, groups: Mapping[str, typer.Typer]) -> None:
    """Adds `vswap eval trackers`."""
    from vswap_trackers.evaluation.command import trackers

    groups["eval"].command("trackers")(trackers)


@hookimpl
def vswap_trackers() -> Iterable[ComponentSpec]:
    """Optical flow on a laptop."""
    yield ComponentSpec(
        "lucas-kanade",
        "vswap_trackers.lucas_kanade:LucasKanade",
        LucasKanadeOptions,
        "pyramidal Lucas-Kanade, both ways from each keyframe, with forward-backward and patch checks",
        revision=2,
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
    )
    yield ComponentSpec(
        "dis-flow",
        "vswap_trackers.dis_flow:DisFlow",
        DisFlowOptions,
        "dense optical flow in hops of several lengths: for articulated subjects, hidden points, and many points",
        revision=4,
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
    )
    yield ComponentSpec(
        "feature-match",
        "vswap_trackers.feature_match:FeatureMatch",
        FeatureMatchOptions,
        "the embedder's features of each point, found again in every frame: DIFT, DINOv2",
        requires=("torch",),
        install="pip install 'vswap[diffusion]'",
        accepts={"embedder": ("feature-maps",)},
        revision=3,
    )
    yield ComponentSpec(
        "ensemble",
        "vswap_trackers.ensemble:Ensemble",
        EnsembleOptions,
        "several trackers vote, weighted by who finds the way back: the steadiest, and the slowest",
        revision=2,
        requires=("cv2", "onnxruntime"),
        install="pip install 'vswap[onnx,opencv]'",
        preflight="vswap_trackers.members:preflight",
    )
    yield ComponentSpec(
        "onnx",
        "vswap_trackers.onnx_model:OnnxTracker",
        OnnxOptions,
        "any ONNX network that takes frames and points; its inputs and outputs are named in the options",
        revision=2,
        requires=("onnxruntime", "cv2"),
        install="pip install 'vswap[onnx,opencv]'",
        preflight="vswap_trackers.onnx_model:preflight",
    )
    yield ComponentSpec(
        "toytrack",
        "vswap_trackers.toytrack:ToyTrack",
        ToyTrackOptions,
        "a small network of our own, shipped: finds points again after they were hidden",
        revision=2,
        requires=("onnxruntime", "cv2"),
        install="pip install 'vswap[onnx,opencv]'",
    )
    yield ComponentSpec(
        "tapir",
        "vswap_trackers.tapir:Tapir",
        TapirOptions,
        "Causal BootsTAPIR, as two ONNX files: finds points again after they were hidden",
        requires=("onnxruntime", "cv2"),
        install="pip install 'vswap[onnx,opencv]'",
        preflight="vswap_trackers.tapir:preflight",
    )
    yield ComponentSpec(
        "cotracker",
        "vswap_trackers.cotracker:CoTracker",
        CoTrackerOptions,
        "CoTracker 3, offline or online, from its own package; for non-commercial use",
        requires=("torch",),
        install="pip install 'vswap[diffusion]'",
        preflight="vswap_trackers.cotracker_package:preflight",
        licence="CC-BY-NC-4.0 (code and weights of CoTracker): no commercial use",
    )
    yield ComponentSpec(
        "pose",
        "vswap_trackers.pose:Pose",
        PoseOptions,
        "a person's joints in every frame by ViTPose; points are named as COCO's joints",
        revision=2,
        requires=("torch", "transformers", "cv2"),
        install="pip install 'vswap[diffusion,opencv]'",
        capabilities=("only:coco-joints",),
        preflight="vswap_trackers.pose_joints:preflight",
    )
    yield ComponentSpec(
        "file",
        "vswap_trackers.file_tracks:FileTracks",
        FileOptions,
        "tracks read from a file: our own, JSON, TAP.pth, CoTracker's, TAP-Vid's",
        preflight="vswap_trackers.file_tracks:preflight",
        describe="vswap_trackers.file_tracks:describe",
    )
