"""Where points truly are, and which of them a tracker is asked to follow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray, PointQueries, PointTracks
from vswap_trackers.evaluation.metrics import evaluated_frames, pck_figures, tapvid_figures

MODES = ("first", "strided")
STRIDE = 5
"""Frames between the queries of mode "strided" (TAP-Vid, section 3)."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about a clip's points.

    Attributes:
        names: N.
        xy: float32 [T, N, 2] pixels, finite.
        visible: bool [T, N]; False where nothing is known.
        known: bool [T, N], where place and visibility are known: everywhere, or in annotated frames.
        size: (width, height) of the video in pixels.
        areas: float64 [T] pixels, the mask's area in each frame; None where there are no masks, or where the truth is
            everywhere and PCK has no use.
    """

    names: tuple[str, ...]
    xy: FloatArray
    visible: BoolArray
    known: BoolArray
    size: tuple[int, int]
    areas: NDArray[np.float64] | None = None

    @property
    def sparse(self) -> bool:
        """Whether something is unknown in some frame."""
        return not self.known.all()

    def digest(self) -> str:
        """SHA-256 of all that the figures depend on."""
        state = hashlib.sha256(repr((self.names, self.size)).encode())
        for array in (self.xy, self.visible, self.known, self.areas):
            state.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


@dataclass(frozen=True, eq=False)
class Questions:
    """The queries of one clip; point int [N] says which point of the truth each one follows."""

    queries: PointQueries
    point: NDArray[np.intp]


def rescaled(xy: FloatArray, old: tuple[int, int], size: tuple[int, int]) -> FloatArray:
    """Places [..., 2] in a picture of `old` (width, height) as places in one of `size`, pixel centres at integers."""
    if old == size:
        return xy
    factor = np.array(size, np.float64) / np.array(old, np.float64)
    return ((xy + 0.5) * factor - 0.5).astype(np.float32)


def ask(truth: Truth, mode: str) -> Questions:
    """The queries that TAP-Vid asks in that mode; both give sparse joints one query each.

    "first": each point in the first frame in which it is seen; points that never are seen are left out. "strided":
    every fifth frame, each point that is seen in it.
    """
    if mode == "first" or truth.sparse:
        point = np.flatnonzero(truth.visible.any(axis=0))
        frame = truth.visible[:, point].argmax(axis=0)
        names = tuple(truth.names[i] for i in point)
    else:
        frame, point = np.nonzero(truth.visible[::STRIDE])
        frame = frame * STRIDE
        names = tuple(f"{truth.names[i]} @{t}" for t, i in zip(frame.tolist(), point.tolist(), strict=True))
    queries = PointQueries(names, frame.astype(np.int32), truth.xy[frame, point].astype(np.float32))
    return Questions(queries, point)


def judge(truth: Truth, questions: Questions, found: PointTracks, mode: str) -> Mapping[str, float]:
    """All figures of one clip that its truth allows, by name; see `metrics`."""
    point = questions.point
    xy, visible, known = truth.xy[:, point], truth.visible[:, point], truth.known[:, point]
    counted = known & evaluated_frames(questions.queries.frame, len(xy), "first" if truth.sparse else mode)
    figures = tapvid_figures(xy, visible, found.xy, found.visible, counted, truth.size)
    if truth.sparse:
        figures = {name: value for name, value in figures.items() if name.startswith("delta")}
        if truth.areas is not None:
            figures |= pck_figures(xy, found.xy, counted & visible, truth.areas)
    return figures
