"""The work of each stage: it makes components, calls them, and checks that they keep their contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vswap_kernel.api import Context, SwapPrompt, silent
from vswap_kernel.config import Chosen, OutputConfig
from vswap_kernel.drags import blend_fields
from vswap_kernel.encode import write_result
from vswap_kernel.errors import InputError, PluginError
from vswap_kernel.models import lend
from vswap_kernel.protocols import MetricCase, SwapJob
from vswap_kernel.types import (
    Artefact,
    ByteArray,
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
from vswap_kernel.video import Selection, Source, read_frames

Inputs = Mapping[str, Any]
_NEAR = 8  # pixels from the mask at which a point still counts as being on it


class Work:
    """One stage's work. `kind` is what it makes; None: a folder of the component's own making."""

    kind: ClassVar[type[Artefact] | None] = None

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        """Compute from the results of other stages, by their names, and write into the folder `out`."""
        raise NotImplementedError

    def load(self, folder: Path, /) -> Any:
        """Read the result back."""
        return folder if self.kind is None else self.kind.load(folder)


def _what(chosen: Chosen) -> str:
    return f"{chosen.component.family} {chosen.name!r} ({chosen.component.origin})"


def _create(chosen: Chosen, context: Context) -> Any:
    """Make a component; one that makes no random choices isn't given the seed, which isn't in its key either."""
    seed = context.seed if chosen.component.spec.seeded else 0
    return chosen.component.create(chosen.options, dataclasses.replace(context, seed=seed))


def _make(chosen: Chosen, context: Context, method: str) -> Any:
    component = _create(chosen, lend(chosen.component, context))
    if not callable(getattr(component, method, None)):
        raise PluginError(f"{_what(chosen)}: {chosen.component.spec.factory} has no method {method}()")
    return component


def _expect(chosen: Chosen, result: Any, kind: type[Any], **wanted: Any) -> Any:
    """A result of the right type and shape; anything else is the plugin's fault, and isn't stored."""
    if not isinstance(result, kind):
        raise PluginError(f"{_what(chosen)} returned {type(result).__name__}, expected {kind.__name__}")
    for name, value in wanted.items():
        got = len(result) if name == "frames" else getattr(result, name)
        if got != value:
            raise PluginError(f"{_what(chosen)} returned {name} {got}, expected {value}")
    return result


@dataclass(frozen=True)
class Decode(Work):
    """source: the edited range's frames."""

    kind = Video

    source: Source
    selection: Selection

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        selection, total = self.selection, self.source.frames
        chunks = _counted(read_frames(self.source, selection), context, len(selection.indices(self.source)))
        place = {"first": selection.start, "step": selection.stride, "source_frames": total}
        fps = self.source.fps / selection.stride
        Video.stream(chunks, context.scratch / "frames.safetensors", fps, **place).save(out)


def _counted(chunks: Iterator[ByteArray], context: Context, total: int) -> Iterator[ByteArray]:
    done = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        context.progress(done, total)


@dataclass(frozen=True)
class Track(Work):
    """tracks: the named points in every frame."""

    kind = PointTracks

    tracker: Chosen
    queries: PointQueries

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        video: Video = inputs["source"]
        tracks = _make(self.tracker, context, "track").track(video, self.queries)
        names = self.queries.names
        _expect(self.tracker, tracks, PointTracks, frames=len(video), names=names, size=video.size)
        dataclasses.replace(tracks, keyframe=self.queries.frame).save(out)


@dataclass(frozen=True)
class Segment(Work):
    """masks: the source subject in every frame."""

    kind = Masks

    masker: Chosen
    queries: PointQueries

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        video: Video = inputs["source"]
        masks = _make(self.masker, context, "segment").segment(video, self.queries)
        _expect(self.masker, masks, Masks, frames=len(video), size=video.size)
        self._check_points(masks)
        masks.save(out)

    def _check_points(self, masks: Masks) -> None:
        """The points are on the subject by definition: masks that hold none of them are of something else."""
        x, y = self.queries.xy.round().astype(int).clip(0, np.array(masks.size) - 1).T
        near = [masks.frames[k, max(0, j - _NEAR) : j + _NEAR + 1, max(0, i - _NEAR) : i + _NEAR + 1].any()
                for k, i, j in zip(self.queries.frame, x, y, strict=True)]  # fmt: skip
        if not any(near):
            at = f"none of the points is on the subject's mask in frame {self.queries.frame[0]}"
            raise InputError(f"masks: {at}; are the masks of this video, and the points (x, y) of this frame?")


@dataclass(frozen=True)
class Embed(Work):
    """embeddings: what each point looks like."""

    kind = PointEmbeddings

    embedder: Chosen
    subject: str

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        tracks: PointTracks = inputs["tracks"]
        embeddings = _make(self.embedder, context, "embed").embed(inputs["source"], tracks, self.subject)
        _expect(self.embedder, embeddings, PointEmbeddings, names=tracks.names).save(out)


@dataclass(frozen=True)
class Fit(Work):
    """canonical: the video's own geometry, in a folder of the component's making."""

    canonical: Chosen

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        fit = _make(self.canonical, context, "fit").fit
        fit(inputs["source"], inputs.get("masks"), inputs["tracks"], out)


@dataclass(frozen=True)
class Aim(Work):
    """targets: where the new subject's points are asked to be."""

    kind = PointTracks

    canonical: Chosen | None
    edits: tuple[PointEdit, ...]  # one a keyframe, all with the same drops

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        tracks: PointTracks = inputs["tracks"]
        targets = tracks
        if self.canonical is not None:
            propagate = _make(self.canonical, context, "propagate").propagate
            fields = [propagate(inputs["canonical"], tracks, edit) for edit in self.edits]
            for field in fields:
                _expect(self.canonical, field, DisplacementField, names=tracks.names, frames=len(tracks))
            field = blend_fields(fields, self.edits)
            xy = (tracks.xy + field.delta).astype(np.float32)
            targets = dataclasses.replace(tracks, xy=xy, visible=tracks.visible & field.valid)
        targets.subset(name for name in tracks.names if name not in self.edits[0].drop).save(out)


@dataclass(frozen=True)
class JobParts:
    """What the stages of a swap share: the swapper, the families of the models in its job, the prompts."""

    swapper: Chosen
    families: tuple[str, ...]
    prompt: SwapPrompt

    def job(self, inputs: Inputs, context: Context) -> SwapJob:
        """The job: an input that isn't there is None, and the targets are the tracks where nothing else is asked."""
        tracks: PointTracks = inputs["tracks"]
        made = {name: context.components[name] for name in self.families}
        optional = {"masks": inputs.get("masks"), "embeddings": inputs.get("embeddings")}
        return SwapJob(inputs["source"], tracks, inputs.get("targets", tracks), prompt=self.prompt, **optional, **made)


@dataclass(frozen=True)
class Prepare(Work):
    """prepare: what a swap needs of the source alone. It sees only what it `reads`, which is what its key holds."""

    parts: JobParts
    reads: tuple[str, ...]

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        none = np.zeros((len(inputs["source"]), 0), np.float32)
        nothing = PointTracks((), none.reshape(*none.shape, 2), none.astype(bool), none, inputs["source"].size)
        families = tuple(name for name in self.parts.families if name in self.reads)
        prompt = SwapPrompt(self.parts.prompt.source if "prompt" in self.reads else "")
        seen = JobParts(self.parts.swapper, families, prompt)
        job = seen.job({"tracks": nothing, **inputs}, context)
        _make(self.parts.swapper, context, "prepare").prepare(job, out)


@dataclass(frozen=True)
class Swap(Work):
    """swap: the result's frames, and where the new subject is in them."""

    kind = SwapResult

    parts: JobParts

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        job = self.parts.job(inputs, context)
        result = _make(self.parts.swapper, context, "swap").swap(job, inputs["prepare"])
        _expect(self.parts.swapper, result, SwapResult)
        _expect(self.parts.swapper, result.video, Video, frames=len(job.video), size=job.video.size)
        result.save(out)


@dataclass(frozen=True)
class Measure(Work):
    """metric:NAME: what one metric says of the result."""

    kind = Measurement

    metric: Chosen
    tracker: Chosen

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        tracker = _make(self.tracker, dataclasses.replace(context, progress=silent), "track")
        case = MetricCase(inputs["source"], inputs["swap"], inputs.get("masks"), inputs["targets"], tracker)
        measured = _make(self.metric, context, "measure").measure(case)
        _expect(self.metric, measured, Measurement).save(out)


@dataclass(frozen=True)
class Encode(Work):
    """result: the video file, with the source's sound and the frames outside the edited range."""

    source: Source
    selection: Selection
    output: OutputConfig

    def run(self, inputs: Inputs, context: Context, out: Path, /) -> None:
        swap: SwapResult = inputs["swap"]
        edited = _counted((chunk for _, chunk in swap.video.chunks()), context, len(swap.video))
        path = out / f"result.{self.output.format}"
        write_result(path, self.source, self.selection, edited, keep_rest=self.output.keep_rest)

    def load(self, folder: Path, /) -> Path:
        return folder / f"result.{self.output.format}"
