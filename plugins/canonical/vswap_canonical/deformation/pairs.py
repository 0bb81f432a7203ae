"""Correspondences between the frames of a video on its subject, from dense flow and from tracks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_canonical.deformation.regions import Regions
from vswap_canonical.flow_pairs import comes_back
from vswap_kernel.types import BoolArray, FloatArray, PointTracks, Video
from vswap_optical_flow.dense_flow import DenseFlow

GAPS = (1, 2, 4, 8, 16)
_POINTS = 256  # drawn from a pair of frames
_FEWEST = 8  # points; less of a subject says nothing
_MARGIN = 24  # px around the subject that the flow is computed on
_SMALLEST = 64  # px; pictures smaller than that leave the flow's coarsest level nothing
_LARGEST_MISS = 1.0  # px

Told = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Places in one frame and where they are in another.

    source, target int64 [P] frames; start, end float32 [P, M, 2] pixels; weight float32 [P, M], 0 where there is none.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    start: FloatArray
    end: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.source)

    def chosen(self, which: NDArray[np.intp] | BoolArray) -> Self:
        """Those pairs of frames alone."""
        return type(self)(*(getattr(self, item.name)[which] for item in fields(self)))

    def believed(self, trust: NDArray[np.float64]) -> Self:
        """The same, each weighed by how far it is believed, [P, M]."""
        return replace(self, weight=(self.weight * trust).astype(np.float32))


def flow_correspondences(video: Video, regions: Regions, seed: int, told: Told = lambda done, total: None) -> Pairs:
    """Places drawn from the subject's pixels and carried by dense flow (DIS), where the flow back agrees and what is
    met is the subject too. Neighbouring frames, and frames 2, 4, 8 and 16 apart; both directions of a pair follow each
    other. One pair of frames is held in memory at a time."""
    spans = [(t, t + gap) for gap in GAPS for t in range(0, len(video) - gap, max(1, gap // 2))]
    rows = np.zeros((2 * len(spans), _POINTS, 5), np.float32)
    flow, random = DenseFlow(), np.random.default_rng([seed, 0])
    for index, (first, second) in enumerate(spans):
        seen = regions.at(first), regions.at(second)
        if min(int(each.sum()) for each in seen) >= _FEWEST:
            box = _box(seen[0] | seen[1])
            grey = [cv2.cvtColor(video.frames[t][box], cv2.COLOR_RGB2GRAY) for t in (first, second)]
            ahead, back = flow.between(grey[0], grey[1]), flow.between(grey[1], grey[0])
            corner = np.array([box[1].start, box[0].start], np.float32)
            here, there = seen[0][box], seen[1][box]
            rows[2 * index] = _drawn(ahead, back, here, there, corner, random)
            rows[2 * index + 1] = _drawn(back, ahead, there, here, corner, random)
        if index % 16 == 0:
            video.release()
            told(index + 1, len(spans))
    frames = np.array(spans, np.int64).reshape(-1, 2)
    pairs = Pairs(frames.ravel(), frames[:, ::-1].ravel(), rows[..., :2], rows[..., 2:4], rows[..., 4])
    return pairs.chosen(pairs.weight.sum(1) >= _FEWEST)


def track_correspondences(tracks: PointTracks, reference: int) -> Pairs:
    """The tracks' visible places, between all frames and `reference`, and between frames 1, 2, 4, ... apart."""
    count = len(tracks)
    spans = [(t, t + gap) for gap in (2**power for power in range(count.bit_length())) for t in range(count - gap)]
    spans += [(t, reference) for t in range(count) if t != reference]
    spans += [(second, first) for first, second in spans]
    source, target = np.array(spans, np.int64).reshape(-1, 2).T
    weight = (tracks.visible[source] & tracks.visible[target]).astype(np.float32)
    pairs = Pairs(source, target, tracks.xy[source], tracks.xy[target], weight)
    return pairs.chosen(weight.sum(1) > 0)


def joined(flow: Pairs, tracked: Pairs, tracks: PointTracks, share: float) -> Pairs:
    """Both in one, with the tracks' places also beside the flow of the same two frames, where they weigh `share` of it.
    The flow's pairs, and their places, come first."""
    weight = (tracks.visible[flow.source] & tracks.visible[flow.target]).astype(np.float32)
    weight *= share * flow.weight.sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), 1)
    beside = Pairs(flow.source, flow.target, tracks.xy[flow.source], tracks.xy[flow.target], weight)
    parts = zip(*(vars(part).values() for part in (flow, beside, tracked)), strict=True)
    source, target, *arrays = parts
    rows = []
    for first, second, other in arrays:
        above = np.concatenate([first, second], axis=1)
        missing = np.zeros((len(other), first.shape[1], *first.shape[2:]), np.float32)
        rows.append(np.concatenate([above, np.concatenate([missing, other], axis=1)]))
    return Pairs(np.concatenate([source[0], source[2]]), np.concatenate([target[0], target[2]]), *rows)


def _box(region: BoolArray) -> tuple[slice, slice]:
    """The part of the frame around it, with a margin."""
    slices = []
    for axis in (1, 0):
        where, length = np.flatnonzero(region.any(axis)), region.shape[1 - axis]
        low, high = int(where[0]) - _MARGIN, int(where[-1]) + 1 + _MARGIN
        more = max(0, _SMALLEST - (high - low)) // 2 + 1
        slices.append(slice(max(0, low - more), min(length, high + more)))
    return slices[0], slices[1]


def _drawn(
    ahead: FloatArray,
    back: FloatArray,
    here: BoolArray,
    there: BoolArray,
    corner: FloatArray,
    random: np.random.Generator,
) -> FloatArray:
    """[_POINTS, 5] rows (x, y, x', y', weight) of one flow [h, w, 2], drawn from the pixels where it holds."""
    height, width = here.shape
    y, x = np.nonzero(here & comes_back(ahead, back, _LARGEST_MISS))
    start = np.stack([x, y], 1).astype(np.float32)
    end = start + ahead[y, x]
    column, row = end.round().astype(int).T
    on_subject = there[row.clip(0, height - 1), column.clip(0, width - 1)]
    kept = np.flatnonzero(on_subject)
    kept = random.permutation(kept)[:_POINTS]
    rows = np.zeros((_POINTS, 5), np.float32)
    rows[: len(kept)] = np.concatenate([start[kept] + corner, end[kept] + corner, np.ones((len(kept), 1))], 1)
    return rows
