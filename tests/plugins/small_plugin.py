"""Small real components in plain NumPy, for tests of the kernel. `calls` counts the work done in this process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from vswap_kernel.api import SWAP_ONLY, ComponentSpec, Context, Facts, InputPath, Options, hookimpl
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import MetricCase, SwapJob
from vswap_kernel.types import (
    Cutout,
    DisplacementField,
    Masks,
    Measurement,
    PointEdit,
    PointEmbeddings,
    PointQueries,
    PointTracks,
    SwapResult,
    Video,
)

calls: Counter[str] = Counter()


class Drift(Options):
    """Options of `drift`."""

    step: tuple[float, float] = Field((0.0, 0.0), description="how far points move from frame to frame, pixels")


class DriftTracker:
    """Points that all move by the same step each frame."""

    def __init__(self, options: Drift, context: Context) -> None:
        self.step, self.context = np.array(options.step, np.float32), context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        calls["track"] += 1
        frames, points = len(video), len(queries.names)
        time = np.arange(frames)[:, None] - queries.frame
        xy = (queries.xy + time[..., None] * self.step).astype(np.float32)
        inside = ((xy > -0.5) & (xy < np.array(video.size) - 0.5)).all(-1)
        self.context.progress(frames, frames)
        return PointTracks(queries.names, xy, inside, np.ones((frames, points), np.float32), video.size)


class ShortTracker(DriftTracker):
    """Breaks its contract: it loses the last frame."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        tracks = super().track(video, queries)
        return PointTracks(tracks.names, tracks.xy[:-1], tracks.visible[:-1], tracks.confidence[:-1], tracks.size)


class CrashingTracker(DriftTracker):
    """Raises an ordinary exception."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        raise ZeroDivisionError("no luck")


class SleepyTracker(DriftTracker):
    """Says that it has begun, beside the video, and sleeps: something to interrupt."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        (self.context.scratch.parents[2] / "asleep").touch()
        time.sleep(30)
        return super().track(video, queries)


class Middle:
    """A mask over the middle of the frame."""

    def __init__(self, options: Options, context: Context) -> None:
        pass

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        calls["segment"] += 1
        masks = np.zeros(video.frames.shape[:3], np.uint8)
        height, width = masks.shape[1:]
        masks[:, height // 4 : height // 2, width // 4 : width // 2] = 255
        return Masks(masks)


class NoMasks(Middle):
    """Finds nothing."""

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        return Masks(np.zeros(video.frames.shape[:3], np.uint8))


class Weights(Options):
    """Options of `little`."""

    width: int = Field(3, description="length of its vectors")


class LittleBackbone:
    """A model that is dear to make: `calls` counts how often it is."""

    family = "little"

    def __init__(self, options: Weights, context: Context) -> None:
        calls["backbone"] += 1
        self.width, self.seed, self.components = options.width, context.seed, dict(context.components)
        (context.scratch / "made").touch()


class BorrowingEmbedder:
    """Describes points by the width and the seed of the backbone that it is lent."""

    def __init__(self, options: Options, context: Context) -> None:
        self.components = context.components

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        (family,) = self.components
        backbone = self.components[family]
        assert backbone.components == {}
        assert tracks.keyframe is not None
        vectors = np.full((len(tracks.names), backbone.width), backbone.seed, np.float32)
        return PointEmbeddings(tracks.names, vectors, tracks.keyframe, tracks.visible, f"{family}:{backbone.family}")


class BorrowingMasker(Middle):
    """Is lent the backbone too."""

    def __init__(self, options: Options, context: Context) -> None:
        assert list(context.components) == ["backbone"]


class BorrowingTracker(DriftTracker):
    """Is lent the embedder, which is itself lent the backbone; its confidence is the backbone's seed, over 10."""

    def __init__(self, options: Drift, context: Context) -> None:
        super().__init__(options, context)
        (self.family,) = context.components
        self.embedder = context.components[self.family]

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        assert isinstance(self.embedder, BorrowingEmbedder)
        tracks, backbone = super().track(video, queries), self.embedder.components["backbone"]
        return replace(tracks, confidence=np.full_like(tracks.confidence, backbone.seed / 10))


class CopyCanonical:
    """The move on the keyframe, in every frame."""

    def __init__(self, options: Options, context: Context) -> None:
        pass

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        calls["fit"] += 1

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        delta = np.zeros_like(tracks.xy)
        for name, place in edit.move.items():
            delta[:, tracks.names.index(name)] = np.array(place) - tracks.xy[edit.frame, tracks.names.index(name)]
        return DisplacementField(tracks.names, delta, tracks.visible.copy())


class Paint(Options):
    """Options of `paint`."""

    level: int = Field(0, ge=0, le=255, description="grey of the new subject", json_schema_extra=SWAP_ONLY)
    depth: int = Field(1, description="read by prepare")
    picture: InputPath | None = Field(None, description="a file whose content counts")
    either: InputPath | Annotated[str, Field(pattern="^hub:")] = Field("hub:x", description="a file, or a name")


def check_paint(options: Paint, facts: Facts) -> None:
    """Refuses a level of 13."""
    if options.level == 13:
        raise InputError(f"swapper.level: 13 brings bad luck to {', '.join(facts.point_names)}; choose another")


class PaintSwapper:
    """Paints the source's mask in one grey, and a square at each target."""

    def __init__(self, options: Paint, context: Context) -> None:
        self.options, self.context = options, context

    def prepare(self, job: SwapJob, out: Path, /) -> None:
        calls["prepare"] += 1
        assert job.masks is not None
        assert job.concept is None
        (out / "depth.txt").write_text(str(self.options.depth))

    def swap(self, job: SwapJob, prepared: Path, /) -> SwapResult:
        calls["swap"] += 1
        assert job.masks is not None
        assert (prepared / "depth.txt").read_text() == str(self.options.depth)
        frames, subject = job.video.frames.copy(), job.masks.frames.copy()
        for frame in range(len(frames)):
            for x, y in job.targets.xy[frame][job.targets.visible[frame]].round().astype(int):
                subject[frame, y, x] = 255
        frames[subject > 0] = self.options.level
        scratch = self.context.scratch
        return SwapResult(
            Video.stream([frames], scratch / "video.safetensors", job.video.fps),
            Masks.stream([subject], scratch / "subject.safetensors"),
        )


class SpriteOptions(Options):
    """Options of `sprite`."""

    shade: int = Field(0, description="grey of the picture")


class Sprite:
    """A grey picture; `seen_seeds` notes what seed each was made with."""

    seen_seeds: ClassVar[list[int]] = []

    def __init__(self, options: SpriteOptions, context: Context) -> None:
        self.seen_seeds.append(context.seed)
        self.rgba = np.full((4, 4, 4), options.shade, np.uint8)

    def cutout(self) -> Cutout:
        return Cutout(self.rgba, ("nose",), np.zeros((1, 2), np.float32))


class BentCanonical(CopyCanonical):
    """Says that nothing it did is valid."""

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        field = super().propagate(fitted, tracks, edit)
        return DisplacementField(field.names, field.delta, np.zeros_like(field.valid))


class RenamingTracker(DriftTracker):
    """Breaks its contract: it gives the points other names."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        tracks = super().track(video, queries)
        names = tuple(name.upper() for name in tracks.names)
        return PointTracks(names, tracks.xy, tracks.visible, tracks.confidence, tracks.size)


class TinyMasks(Middle):
    """Breaks its contract: its masks are of another size."""

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        return Masks(np.zeros((len(video), 3, 3), np.uint8))


class ShareChanged:
    """The share of pixels that differ from the source's."""

    def __init__(self, options: Options, context: Context) -> None:
        pass

    def measure(self, case: MetricCase, /) -> Measurement:
        differs = (case.source.frames != case.result.video.frames).any(-1).mean((1, 2), dtype=np.float32)
        return Measurement({"share": float(differs.mean()), "nothing": float("nan")}, {"share": differs})


@hookimpl
def vswap_trackers() -> Iterable[ComponentSpec]:
    yield ComponentSpec("drift", "small_plugin:DriftTracker", Drift, "points on a straight line")
    yield ComponentSpec("short", "small_plugin:ShortTracker", Drift, "breaks its contract")
    yield ComponentSpec("crashing", "small_plugin:CrashingTracker", Drift, "raises")
    yield ComponentSpec("renaming", "small_plugin:RenamingTracker", Drift, "breaks its contract")
    yield ComponentSpec("sleepy", "small_plugin:SleepyTracker", Drift, "sleeps")
    yield ComponentSpec("borrowing", "small_plugin:BorrowingTracker", Drift, accepts={"embedder": ()})
    yield ComponentSpec("absent", "small_plugin:Nothing", requires=("no_such_package",), install="pip install no-such")
    yield ComponentSpec("unloadable", "small_plugin:Nothing", summary="its class is not there")


@hookimpl
def vswap_masks() -> Iterable[ComponentSpec]:
    yield ComponentSpec("middle", "small_plugin:Middle", summary="a rectangle")
    yield ComponentSpec("nothing", "small_plugin:NoMasks", summary="finds nothing")
    yield ComponentSpec("tiny", "small_plugin:TinyMasks", summary="breaks its contract")
    yield ComponentSpec("borrowing", "small_plugin:BorrowingMasker", accepts={"backbone": ("little-unet",)})


@hookimpl
def vswap_backbones() -> Iterable[ComponentSpec]:
    yield ComponentSpec("little", "small_plugin:LittleBackbone", Weights, capabilities=("little-unet",), seeded=True)
    yield ComponentSpec("other", "small_plugin:LittleBackbone", Weights, capabilities=("other-unet",))


@hookimpl
def vswap_embedders() -> Iterable[ComponentSpec]:
    yield ComponentSpec("borrowing", "small_plugin:BorrowingEmbedder", accepts={"backbone": ("little-unet",)})


@hookimpl
def vswap_concepts() -> Iterable[ComponentSpec]:
    yield ComponentSpec("sprite", "small_plugin:Sprite", SpriteOptions, "a grey picture", capabilities=("cutout",))
    yield ComponentSpec(
        "random-sprite", "small_plugin:Sprite", SpriteOptions, "seeded", capabilities=("cutout",), seeded=True
    )


@hookimpl
def vswap_canonicals() -> Iterable[ComponentSpec]:
    yield ComponentSpec("copy", "small_plugin:CopyCanonical", summary="the move, everywhere")
    yield ComponentSpec("bent", "small_plugin:BentCanonical", summary="valid nowhere")


@hookimpl
def vswap_swappers() -> Iterable[ComponentSpec]:
    yield ComponentSpec(
        "paint",
        "small_plugin:PaintSwapper",
        Paint,
        "one grey",
        accepts={"masks": ()},
        preflight="small_plugin:check_paint",
        prepare_reads=("masks",),
    )
    yield ComponentSpec("picky", "small_plugin:PaintSwapper", Paint, accepts={"concept": ("cutout",)})


@hookimpl
def vswap_metrics() -> Iterable[ComponentSpec]:
    yield ComponentSpec("share-changed", "small_plugin:ShareChanged", summary="share of pixels that differ")


def made_up(**fields: Any) -> ComponentSpec:
    """A spec with some fields replaced, for tests of the registry."""
    return ComponentSpec(**({"name": "made-up", "factory": "small_plugin:DriftTracker"} | fields))
