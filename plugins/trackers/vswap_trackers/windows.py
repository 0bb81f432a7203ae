"""Chains windows of a model that tracks points forwards through a few frames, so that clips may be of any length.

Each point is tracked from its keyframe to both ends of the video: forwards, and backwards through windows of reversed
frames, so that a causal model does as well. A window's queries are the points' keyframes where those lie in it, else
the last place where the point was reliable, which is in the overlap of the windows. For a point that was hidden
throughout the overlap the frame in which it was last seen is put before the window's own frames (`revisit` such frames
at most). Points beyond that start from the likeliest place in the overlap, and aren't called visible on the strength of
such a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.contract import finished, inside, require_keyframes

Steps = NDArray[np.intp]


class WindowModel(Protocol):
    """Tracks points through the frames of one window."""

    def __call__(self, frames: ByteArray, queries: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Where the points are in each frame, and how likely they are visible there.

        Args:
            frames: uint8 [n, H, W, 3] RGB.
            queries: float32 [N, 3], (frame of the window, x, y), N at least 1. What is answered for frames before a
                point's query isn't read.

        Returns:
            xy float32 [n, N, 2] pixels of these frames, and the likelihood float32 [n, N] in 0..1.
        """
        ...


@dataclass(frozen=True)
class Windows:
    """How a clip is cut.

    Attributes:
        length: frames of a call, those shown again among them; None: all at once.
        overlap: frames that neighbouring windows share.
        revisit: frames shown again, at most, for the sake of points that were hidden throughout an overlap.
        threshold: the likelihood from which on a point counts as visible, and its place as reliable.
    """

    length: int | None
    overlap: int
    revisit: int
    threshold: float

    def end(self, start: int, shown_again: int, frames: int) -> int:
        """Where the window from step `start` ends: what is left of all `frames` is cut into equal parts."""
        rest = frames - start
        if self.length is None or rest <= self.length - shown_again:
            return frames
        fresh = self.length - shown_again - self.overlap
        count = -(-(rest - self.overlap) // fresh)
        return start + self.overlap + -(-(rest - self.overlap) // count)


def track_in_windows(
    video: Video, queries: PointQueries, model: WindowModel, windows: Windows, progress: Callable[..., None]
) -> PointTracks:
    """Tracks of all points through the whole video. One window's frames are in memory at a time.

    Confidence is the likelihood of being visible.

    Raises:
        InputError: a keyframe beyond the end of the video.
    """
    require_keyframes(video, queries)
    xy = np.tile(queries.xy, (len(video), 1, 1))
    likelihood = np.zeros(xy.shape[:2], np.float32)
    for note, order in (("forwards", range(len(video))), ("backwards", range(len(video) - 1, -1, -1))):
        _Pass(order, queries, windows, xy[:: order.step], likelihood[:: order.step]).run(video, model, progress, note)
    return finished(queries, video.size, xy, likelihood >= windows.threshold, likelihood)


class _Pass:
    """The way in one direction. A step is a position on it: step s is frame `order[s]`.

    xy [T, N, 2] and likelihood [T, N] are filled in, by step, after each point's keyframe.
    """

    def __init__(
        self, order: range, queries: PointQueries, windows: Windows, xy: FloatArray, likelihood: FloatArray
    ) -> None:
        self._order, self._windows = order, windows
        self._xy, self._likelihood = xy, likelihood
        frame = queries.frame.astype(np.intp)
        self._key: Steps = frame if order.step > 0 else len(order) - 1 - frame
        # where each point was reliable last
        self._seen, self._seen_xy = self._key.copy(), queries.xy.copy()

    def run(self, video: Video, model: WindowModel, progress: Callable[..., None], note: str) -> None:
        """Walk to the end; nothing is done where no point has anything after its keyframe."""
        frames = len(self._order)
        unfinished = self._key < frames - 1
        if not unfinished.any():
            return
        start = end = int(self._key[unfinished].min())
        while end < frames:
            again = self._shown_again(start)
            before, end = end, self._windows.end(start, len(again), frames)
            points = np.flatnonzero(unfinished & (self._key < end))
            steps = np.concatenate([again, np.arange(start, end)])
            query_step, query_xy, trust = self._queries(points, again, start, before)
            asked = np.column_stack([np.searchsorted(steps, query_step), query_xy]).astype(np.float32)
            pictures = video.frames[np.asarray(self._order)[steps]]
            places, likelihood = (answer[len(again) :] for answer in model(pictures, asked))
            likelihood = np.where(inside(places, video.size), likelihood * trust, np.float32(0.0))
            self._take(points, query_step, start, places, likelihood)
            del pictures
            video.release()
            progress(end, frames, note)
            start = end - self._windows.overlap

    def _shown_again(self, start: int) -> Steps:
        """The steps before `start` in which most of the points that are lost since were seen last, in order."""
        steps, points = np.unique(self._seen[self._seen < start], return_counts=True)
        most = np.argsort(-points, kind="stable")[: self._windows.revisit]
        return np.sort(steps[most])

    def _queries(self, points: Steps, again: Steps, start: int, before: int) -> tuple[Steps, FloatArray, FloatArray]:
        """For each of `points` [K] the step [K] and place [K, 2] to track it from, and how far that is sure [K].

        again: the steps shown again; start, before: the window's start, and the end of the one before it.
        """
        step, place = self._seen[points], self._seen_xy[points]
        trust = np.ones(len(points), np.float32)
        guessed = np.flatnonzero((step < start) & ~np.isin(step, again))
        if len(guessed):
            overlap = self._likelihood[start:before, points[guessed]]
            best = overlap.argmax(axis=0)
            step[guessed] = start + best
            place[guessed] = self._xy[start + best, points[guessed]]
            trust[guessed] = overlap.max(axis=0)
        return step, place, trust

    def _take(self, points: Steps, query_step: Steps, start: int, places: FloatArray, likelihood: FloatArray) -> None:
        """Note what the model says of `points` [K] after their queries: places [n, K, 2] and likelihood [n, K] of the
        steps from `start` on."""
        steps = np.arange(start, start + len(places))
        after: BoolArray = steps[:, None] > query_step
        row, column = np.nonzero(after)
        self._xy[steps[row], points[column]] = places[row, column]
        self._likelihood[steps[row], points[column]] = likelihood[row, column]
        reliable = after & (likelihood >= self._windows.threshold)
        some = np.flatnonzero(reliable.any(axis=0))
        last = len(steps) - 1 - reliable[::-1, some].argmax(axis=0)
        self._seen[points[some]] = steps[last]
        self._seen_xy[points[some]] = places[last, some]


def in_groups(
    size: int | None, track: Callable[[FloatArray], tuple[FloatArray, FloatArray]], queries: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What `track` says of queries [N, 3], asked for exactly `size` points at a time (None: all at once).

    The last group is filled up with its first point.
    """
    if size is None or size == len(queries):
        return track(queries)
    parts: list[Sequence[FloatArray]] = []
    for first in range(0, len(queries), size):
        group = queries[first : first + size]
        filling = np.repeat(group[:1], size - len(group), axis=0)
        places, likelihood = track(np.concatenate([group, filling]))
        parts.append((places[:, : len(group)], likelihood[:, : len(group)]))
    return np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts], axis=1)
