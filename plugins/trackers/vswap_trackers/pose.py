"""`pose`: a person's joints in every frame, as tracks of the points that are named after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vswap_kernel.api import Context
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_track_files.found_tracks import fill_gaps
from vswap_trackers.contract import finished, inside, require_keyframes
from vswap_trackers.options_models import PoseOptions
from vswap_trackers.pose_joints import JOINTS, require_joints
from vswap_trackers.pose_network import PersonDetector, PoseNetwork

Boxes = Callable[[ByteArray], FloatArray]
"""From frames [n, H, W, 3] to a box each [n, 4] pixels (left, top, right, bottom)."""
_LEAST_POINTS = 3
"""Fewer than that don't tell where a whole person is."""
_LARGEST_GROWTH, _LARGEST_SHRINK = 2.0, 0.5
"""By which the box followed changes from one look to the next where nobody is found, and where somebody is."""
_JOINT = 0.4
"""Width of a joint as a share of the person's spread: by about as much differs where people put a hip (COCO)."""
_LEAST_OVERLAP = 0.1
"""Of a person's box with the one before, as a share of both together: with less it is somebody else."""
_LEAST_SCORE = 0.3
"""Of what a detector calls a person."""


class Pose:
    """Tracker that asks ViTPose for the joints of each frame anew, so that nothing drifts.

    Points must be named as COCO's joints. On its keyframe a point is where the user put it, which is seldom exactly
    where the network sees the joint: that difference is kept in all frames, growing and shrinking with the person (the
    spread of the joints that are seen). A hidden joint is on the line between where it was seen before and after.
    Confidence is the heatmap's score.

    The first frame looked at is the keyframe of most points. From there it goes forwards and backwards, `batch` frames
    at a time; with `box: follow` they share the box around the joints seen in the frame before them.
    """

    def __init__(self, options: PoseOptions, context: Context) -> None:
        self._options, self._context = options, context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames.

        Raises:
            InputError: a keyframe beyond the end, a point that is no joint, or a model that can't be used.
        """
        require_keyframes(video, queries)
        require_joints(queries.names)
        if not queries.names:
            nothing = np.zeros((len(video), 0), np.float32)
            return PointTracks((), np.zeros((len(video), 0, 2), np.float32), nothing.astype(bool), nothing, video.size)
        joints, score = self._all_joints(video, queries)
        chosen = [JOINTS.index(name) for name in queries.names]
        seen = score >= self._options.threshold
        spread = spreads(joints, seen)
        xy = _with_offsets(joints[:, chosen], spread, queries)
        visible = seen[:, chosen] & ~_cut(joints[:, chosen], spread, video.size)
        visible[queries.frame, np.arange(len(chosen))] = True
        return finished(queries, video.size, fill_gaps(xy, visible), visible, score[:, chosen])

    def _all_joints(self, video: Video, queries: PointQueries) -> tuple[FloatArray, FloatArray]:
        """Places float32 [T, 17, 2] and scores float32 [T, 17] of all joints."""
        network = PoseNetwork(self._options.weights, self._context.device)
        detector = None
        if self._options.detector is not None:
            detector = PersonDetector(self._options.detector, self._context.device)
        frames, first = len(video), int(np.bincount(queries.frame).argmax())
        xy, score = np.zeros((frames, len(JOINTS), 2), np.float32), np.zeros((frames, len(JOINTS)), np.float32)
        box, done = self._first_box(queries.xy[queries.frame == first], video.size), 0
        for order in (range(first, frames), range(first - 1, -1, -1)):
            known = order.step < 0 < first
            around = self._around(xy[first], score[first], box, box, video.size) if known else box
            for index in _batches(order, self._options.batch, start_alone=order.step > 0):
                pictures = video.frames[index]
                boxes = self._boxes(pictures, around, detector)
                xy[index], score[index] = network.joints(pictures, boxes)
                last = index[-1]
                around = boxes[-1] if detector else self._around(xy[last], score[last], around, box, video.size)
                video.release()
                done += len(index)
                self._context.progress(done, frames, "joints")
        return xy, score

    def _first_box(self, points: FloatArray, size: tuple[int, int]) -> FloatArray:
        """The box [4] to look in on the first frame, by the `points` [N, 2] that were set on it."""
        if self._options.box == "frame":
            return _whole(size)
        return box_of_points(points, self._options.grow, size)

    def _boxes(self, pictures: ByteArray, around: FloatArray, detector: PersonDetector | None) -> FloatArray:
        """Where the person is sought in each of the pictures [n, H, W, 3]: [n, 4]; around [4]: where it was."""
        if detector is not None:
            return followed(*detector.persons(pictures), around)
        return np.repeat(around[None], len(pictures), axis=0)

    def _around(
        self, xy: FloatArray, score: FloatArray, before: FloatArray, first: FloatArray, size: tuple[int, int]
    ) -> FloatArray:
        """The box [4] to look in next: around the joints seen, or wider than `before` and the `first` where hardly any
        are."""
        if self._options.box == "frame":
            return _whole(size)
        seen = xy[score >= self._options.threshold]
        return next_box(seen, before, first, self._options.grow, size)


def _batches(order: range, length: int, *, start_alone: bool) -> Iterator[list[int]]:
    """The frames of `order`, at most `length` at a time; the first one alone where its box is rough."""
    start = 0
    if start_alone and len(order):
        yield [order[0]]
        start = 1
    for first in range(start, len(order), length):
        yield list(order[first : first + length])


def _whole(size: tuple[int, int]) -> FloatArray:
    return np.array([-0.5, -0.5, size[0] - 0.5, size[1] - 0.5], np.float32)


def box_of_points(xy: FloatArray, grow: float, size: tuple[int, int]) -> FloatArray:
    """The box [4] around places [N, 2], larger by the share `grow` of its sides on each side; the whole frame of `size`
    (width, height) for fewer than three places."""
    if len(xy) < _LEAST_POINTS:
        return _whole(size)
    low, high = xy.min(axis=0), xy.max(axis=0)
    # a person seen from the side, or lying, is thin: the longer side tells how large it is
    margin = grow * np.maximum(high - low, 0.25 * float((high - low).max()))
    return np.concatenate([low - margin, high + margin]).astype(np.float32)


def next_box(seen: FloatArray, before: FloatArray, first: FloatArray, grow: float, size: tuple[int, int]) -> FloatArray:
    """The box [4] to look for the joints in after they were `seen` [K, 2] in the box `before` [4].

    It shrinks to half at most, for joints heaped at the border are a person that leaves. Where fewer than three are
    seen it is twice as large as it was, and as the `first` [4] at least, around them or in its place: up to the whole
    frame of `size` (width, height), for the person may come back anywhere.
    """
    sides, middle = before[2:] - before[:2], (before[:2] + before[2:]) / 2
    if len(seen) >= _LEAST_POINTS:
        box = box_of_points(seen, grow, size)
        middle, sides = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], sides * _LARGEST_SHRINK)
    else:
        middle = seen.mean(axis=0) if len(seen) else middle
        sides = np.maximum(sides, first[2:] - first[:2]) * _LARGEST_GROWTH
    if (sides >= size).all():
        return _whole(size)
    return np.concatenate([middle - sides / 2, middle + sides / 2]).astype(np.float32)


def followed(boxes: FloatArray, scores: FloatArray, before: FloatArray) -> FloatArray:
    """Frame by frame the person's box that overlaps most with the one before: [n, 4].

    Args:
        boxes, scores: as `PersonDetector.persons` gives them.
        before: [4], where the person was in the frame before the first one; it stays there where none is found.
    """
    chosen = []
    for candidates, score in zip(boxes, scores, strict=True):
        overlap = np.where(score >= _LEAST_SCORE, _overlaps(candidates, before), 0.0)
        best = int(overlap.argmax())
        before = candidates[best] if overlap[best] >= _LEAST_OVERLAP else before
        chosen.append(before)
    return np.stack(chosen)


def _overlaps(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """Intersection over union [K] of boxes [K, 4] with one box [4]."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-6), np.float32)


def spreads(joints: FloatArray, seen: BoolArray) -> FloatArray:
    """How large the person is in each frame, in pixels: float32 [T], the root mean square distance of the joints
    [T, 17, 2] that are seen [T, 17] from their centre; NaN where fewer than three are."""
    weight = seen / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    centre = (joints * weight[..., None]).sum(axis=1, keepdims=True)
    square = (np.square(joints - centre).sum(axis=2) * weight).sum(axis=1)
    return np.where(seen.sum(axis=1) >= _LEAST_POINTS, np.sqrt(square), np.nan).astype(np.float32)


def _cut(joints: FloatArray, spread: FloatArray, size: tuple[int, int]) -> BoolArray:
    """Which joints [T, N, 2] are half out of a frame of `size` (width, height): bool [T, N]. What is left of a joint
    that leaves looks like one to the network, for as long as anything is left."""
    known = spread[np.isfinite(spread)]
    width = _JOINT * float(np.median(known)) if len(known) else 0.0
    return ~(inside(joints - width / 2, size) & inside(joints + width / 2, size))


def _with_offsets(joints: FloatArray, spread: FloatArray, queries: PointQueries) -> FloatArray:
    """Joints [T, N, 2], each moved by what its query is away from it on its keyframe, scaled by the person's size."""
    every = np.arange(len(queries.names))
    offset = queries.xy - joints[queries.frame, every]
    share = spread[:, None] / np.maximum(spread[queries.frame], 1.0)
    share = np.clip(np.where(np.isfinite(share), share, 1.0), 0.5, 2.0)
    return np.asarray(joints + offset * share[..., None], np.float32)
