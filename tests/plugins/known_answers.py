"""Components that know the answers of the kit's own case, each wrong in the way that its option `fault` names."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import Field

from vswap_kernel.api import ComponentSpec, Options, hookimpl
from vswap_kernel.errors import InputError
from vswap_kernel.testing.cases import patch
from vswap_kernel.types import Cutout, DisplacementField, Masks, Measurement, PointTracks, SwapResult, Video

CLOCK = itertools.count()
CASE = patch()


class Given(Options):
    """Options of every component here: `fault` says how to be wrong."""

    fault: str = Field("", description="what to do wrong")


class Known:
    """Knows the patch's answers."""

    def __init__(self, options: Given, context: Any) -> None:
        self.fault, self.context = options.fault, context


class Tracker(Known):
    """Moves every point by (3, 1) a frame, as the patch does."""

    def track(self, video: Any, queries: Any, /) -> Any:
        fault, frames = self.fault, len(video) - (self.fault == "short")
        step = np.array([2, 6] if fault == "transposed" else [3, 1], np.float32)
        xy = queries.xy + step * (np.arange(frames, dtype=np.float32)[:, None] - queries.frame)[..., None]
        visible = ((xy >= -0.5) & (xy <= np.array(video.size) - 0.5)).all(-1) | (fault == "all visible")
        if fault == "mutates":
            video.frames[:] = 0
        if fault == "hoards":
            self.kept = [frame[..., 1].copy() for frame in video.frames]
        if fault == "keeps the pages":
            assert video.frames.any(axis=-1).all()
        if fault == "blind":
            visible = np.arange(frames)[:, None] == queries.frame
        wrong = {"keyframe": 0.25, "nan": np.nan, "random": next(CLOCK) / 16}
        xy = (xy + wrong.get(fault, 0)).astype(np.float32)
        names, size = (given[:: -1 if fault == name else 1] for name, given in _described(video, queries).items())
        tracks = PointTracks(names, xy, visible, np.full(xy.shape[:2], 1 + (fault == "confidence"), np.float32), size)
        return xy if fault == "type" else tracks


def _described(video: Any, queries: Any) -> dict[str, Any]:
    return {"names": queries.names, "size": video.size}


class Masker(Known):
    """The patch's own masks."""

    def segment(self, video: Any, queries: Any, /) -> Masks:
        frames = CASE.masks.frames
        if self.fault == "short":
            frames = frames[1:]
        if self.fault == "elsewhere":
            frames = frames[:, :, ::-1].copy()
        return Masks(frames)


class Canonical(Known):
    """The move on the keyframe in every frame."""

    def fit(self, video: Any, masks: Any, tracks: Any, out: Path, /) -> None:
        (out / "learned.txt").write_text(str(out))

    def propagate(self, fitted: Path, tracks: Any, edit: Any, /) -> DisplacementField:
        unknown = sorted(set(edit.move) - set(tracks.names))
        if unknown and self.fault != "lenient":
            raise InputError(f"no point {unknown[0]!r}")
        delta = np.zeros_like(tracks.xy)
        for name in set(edit.move) - set(unknown):
            point = tracks.names.index(name)
            delta[:, point] = np.array(edit.move[name]) - tracks.xy[edit.frame, point]
        if self.fault == "all move":
            delta[:] = delta.sum(1, keepdims=True)
        if self.fault == "half":
            delta /= 2
        if self.fault == "restless":
            delta[-1, tracks.names.index(next(iter({*edit.move} - {*unknown}), "a"))] += 1
        if self.fault == "tied to its folder":
            delta += len((fitted / "learned.txt").read_text()) - len(str(fitted))
        if self.fault == "writes":
            (fitted / "learned.txt").write_text("again")
        return DisplacementField(tracks.names, delta, np.ones(delta.shape[:2], bool))


class Concept(Known):
    """The patch's cut-out."""

    def cutout(self) -> Cutout:
        cutout = CASE.cutout
        assert cutout is not None
        if self.fault == "opaque":
            return replace(cutout, rgba=np.full_like(cutout.rgba, 255))
        if self.fault == "random":
            return replace(cutout, xy=cutout.xy + next(CLOCK) % 2)
        return replace(cutout, xy=cutout.xy + 100) if self.fault == "outside" else cutout


class Swapper(Known):
    """The patch's exact answer."""

    def prepare(self, job: Any, out: Path, /) -> None:
        assert job.concept is None

    def swap(self, job: Any, prepared: Path, /) -> SwapResult:
        answer = CASE.answer
        assert answer is not None
        if len(job.targets.names) < 2 and self.fault == "needs points":
            raise IndexError("list index out of range")
        if self.fault == "nothing":
            return SwapResult(job.video, answer.subject)
        if self.fault == "background":
            return SwapResult(Video(answer.video.frames // 2, 8.0), answer.subject)
        return SwapResult(Video(answer.video.frames, 25.0 if self.fault == "rate" else 8.0), answer.subject)


class Metric(Known):
    """The mean difference from the source."""

    def measure(self, case: Any, /) -> Measurement:
        curve = abs(case.result.video.frames.astype(np.float32) - case.source.frames).mean((1, 2, 3))
        value = {"infinite": float("inf"), "numpy": np.float32(1)}.get(self.fault, float(curve.mean()))
        return Measurement({"change": value}, {"change": curve[1:] if self.fault == "short" else curve})


def _yields(specs: list[ComponentSpec], name: str) -> Callable[[], list[ComponentSpec]]:
    def hook() -> list[ComponentSpec]:
        return specs

    hook.__name__ = name
    return hook


def plugin() -> ModuleType:
    """A plugin with `known` in every family, and `away`, which needs a package that nobody has."""
    module = ModuleType("known")
    for family, hook, capabilities in (
        ("Tracker", "vswap_trackers", ()),
        ("Masker", "vswap_masks", ()),
        ("Canonical", "vswap_canonicals", ()),
        ("Concept", "vswap_concepts", ("cutout",)),
        ("Swapper", "vswap_swappers", ()),
        ("Metric", "vswap_metrics", ()),
    ):
        factory = f"{__name__}:{family}"
        specs = [
            ComponentSpec("known", factory, Given, "knows the answer", capabilities=capabilities),
            ComponentSpec("away", factory, Given, "can't be had", ("no_such_package",), "pip install no-such-package"),
        ]
        setattr(module, hook, hookimpl(_yields(specs, hook)))
    return module
