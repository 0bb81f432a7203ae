"""Options that several trackers share, and those of the trackers that run somebody's model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from vswap_kernel.api import InputPath, Options


class PlausibleOptions(Options):
    """Whether sightings are judged by `vswap_trackers.plausibility`."""

    plausible: bool = Field(
        True, description="hide points that part from the others without looking as they did on their keyframes"
    )


class WindowOptions(Options):
    """How trackers with a model cut a long clip."""

    window: int | None = Field(48, ge=2, description="frames a call; null: the whole clip at once, in memory too")
    overlap: int = Field(8, ge=1, description="frames that neighbouring windows share")
    revisit: int = Field(
        4,
        ge=0,
        description="earlier frames shown again, at most, to find points that were hidden throughout an overlap; they "
        "count in the window",
    )

    @model_validator(mode="after")
    def _windows_advance(self) -> Self:
        if self.window is not None and self.overlap + self.revisit >= self.window:
            raise ValueError(
                f"window: {self.window} frames leave nothing for overlap {self.overlap} and revisit {self.revisit}; "
                "make it larger than both together"
            )
        return self


class OnnxOptions(WindowOptions, PlausibleOptions):
    """Options of `onnx`. The defaults are the contract of vswap's own networks."""

    model: InputPath = Field(description="the ONNX file")
    video_input: str = Field("video", description="name of the input that takes the frames")
    queries_input: str = Field("queries", description="name of the input that takes the points [1, N, 3]")
    tracks_output: str = Field("tracks", description="name of the output with the places")
    visibility_output: str = Field("visibility", description="name of the output that says what is visible")
    video_layout: Literal["tchw", "thwc"] = Field("tchw", description="frames as [1, T, 3, H, W] or [1, T, H, W, 3]")
    value_range: Literal["0..255", "0..1", "-1..1"] = Field("0..255", description="what black and white are")
    size: tuple[int, int] | None = Field(
        None, description="[width, height] to which frames are scaled; null: the file's own, else the video's"
    )
    multiple_of: int = Field(1, ge=1, description="where size is null: sides are scaled to a multiple of this")
    query_order: Literal["txy", "tyx"] = Field("txy", description="order of a query's numbers; t is the frame")
    tracks_layout: Literal["tn", "nt"] = Field("tn", description="answers as [1, T, N, ...] or [1, N, T, ...]")
    track_order: Literal["xy", "yx"] = Field("xy", description="order of a place's numbers")
    coordinates: Literal["pixels", "unit"] = Field(
        "pixels",
        description='of queries and places: "pixels" of the scaled frame, centres at integers, or "unit": 0 and 1 are '
        "the frame's edges",
    )
    visibility: Literal["probability", "logit", "bool", "occlusion-logit"] = Field(
        "probability", description='what the visibility says; "occlusion-logit": the logit of being hidden'
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="from this probability on a point counts as visible")


class TapirOptions(Options):
    """Options of `tapir`."""

    model: InputPath = Field(description="the network that tracks frame by frame: tapir.onnx")
    encoder: InputPath = Field(description="the network that describes the points: tapir_pointencoder.onnx")


class CoTrackerOptions(WindowOptions):
    """Options of `cotracker`."""

    weights: InputPath = Field(description="the weights: scaled_offline.pth or scaled_online.pth")
    mode: Literal["offline", "online"] = Field(
        "offline", description='what the weights are for; "online" runs through the clip once each way, without windows'
    )
    repository: InputPath | None = Field(
        None, description="a checkout of facebookresearch/co-tracker; null: the installed package cotracker"
    )


class PoseOptions(Options):
    """Options of `pose`."""

    weights: InputPath = Field(description="folder of a ViTPose model as transformers writes it")
    box: Literal["follow", "frame", "detector"] = Field(
        "follow",
        description='where the person is sought: "follow": around the joints found before, from the points on; '
        '"frame": in the whole frame; "detector": where the option detector finds a person',
    )
    detector: InputPath | None = Field(None, description="folder of an RT-DETR model as transformers writes it")
    grow: float = Field(
        0.25, ge=0, le=2, description="follow: by which share of its sides the joints' box grows on each side"
    )
    threshold: float = Field(0.3, gt=0, lt=1, description="from this score on a joint counts as visible")
    batch: int = Field(
        4, ge=1, description="frames at once; follow: they share a box, so take fewer where the person moves fast"
    )

    @model_validator(mode="after")
    def _detector_is_there(self) -> Self:
        if (self.box == "detector") != (self.detector is not None):
            raise ValueError('detector: give the folder of an RT-DETR model with box: "detector", and only then')
        return self


class FileOptions(Options):
    """Options of `file`."""

    path: InputPath = Field(
        description="a folder of tracks as vswap stores them, JSON, TAP.pth, CoTracker's tracks and visibility (.pt, "
        ".npz, .pkl), or TAP-Vid's .pkl"
    )
    names: tuple[str, ...] | None = Field(
        None, description="names of the file's points in its order; null: its own, else the points of the run in order"
    )
    size: tuple[int, int] | None = Field(
        None, description="[width, height] of the video that the tracks are of; null: the file's own, else this video's"
    )
    clip: str | None = Field(None, description="which clip of a TAP-Vid file; null: its only one")
    tolerance: float = Field(
        3.0, ge=0, description="pixels; how far a point may be from where it was set on its keyframe"
    )


class ToyTrackOptions(WindowOptions, PlausibleOptions):
    """Options of `toytrack`."""

    window: int | None = Field(24, ge=2, description="frames a call; null: the whole clip at once, in memory too")
    side: int = Field(
        256, ge=64, le=1024, description="pixels of the longer side of the frames that the network is shown"
    )
    align: bool = Field(
        True, description="align places that still look as on their keyframe to it, by up to 2 pixels of the video"
    )
