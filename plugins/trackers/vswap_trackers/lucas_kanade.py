"""`lucas-kanade`: sparse optical flow from each point's keyframe to both ends of the video."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from vswap_kernel.api import Context
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.contract import require_keyframes
from vswap_trackers.plausibility import plausible
from vswap_trackers.register import LucasKanadeOptions
from vswap_trackers.walk import Walk

_RELEASE_EVERY = 16
"""Frames; the pages of a mapped video are given back that often."""


class LucasKanade:
    """Tracker that needs a processor and OpenCV only.

    A point goes where it looks most like it did lately: where its own flow leads, or the median flow around it, or the
    common motion of all points (a robust similarity, since all sit on one subject). It is visible in a frame when it is
    inside it and either

    - it was visible in the frame before, the flow from there and back misses by at most `max_error` pixels (its own, or
      the median around it), and its patch correlates by at least `min_correlation` with its recent look, and it is
      within `stray` times the points' extent of where the common motion alone carries it from its keyframe, or
    - a patch within `search_radius` pixels of its expected place correlates by at least `found_correlation` with its
      look on the keyframe or with its last look.

    `plausible` hides more. A hidden point is carried by the common motion. Confidence is the correlation, halved at the
    flow's error limit and where a point was found again; it fades by a tenth a frame while hidden.
    """

    def __init__(self, options: LucasKanadeOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames. Each frame is read at most once forwards and once backwards.

        Raises:
            InputError: a keyframe beyond the end of the video.
        """
        require_keyframes(video, queries)
        frames, count = len(video), len(queries.names)
        every = np.arange(count)
        xy = np.tile(queries.xy, (frames, 1, 1))
        visible, confidence = np.zeros((frames, count), bool), np.zeros((frames, count), np.float32)
        visible[queries.frame, every], confidence[queries.frame, every] = True, 1.0
        for direction in (1, -1) if count else ():
            for t, walk in self._walk(video, queries, direction):
                past = (t - queries.frame) * direction > 0
                xy[t, past] = walk.xy[past]
                visible[t, past], confidence[t, past] = walk.visible[past], walk.confidence[past]
        tracks = PointTracks(queries.names, xy, visible, confidence, video.size)
        return plausible(self._options, video, queries, tracks)

    def _walk(self, video: Video, queries: PointQueries, direction: int) -> Iterator[tuple[int, Walk]]:
        """Frame numbers from the first keyframe on, in walking order, with the state of the points there."""
        # OpenCV's own random state must not leak into the result
        cv2.setRNGSeed(self._context.seed)
        walk = Walk(self._options, queries)
        forwards = direction > 0
        order = range(queries.frame.min(), len(video)) if forwards else range(queries.frame.max(), -1, -1)
        for step, t in enumerate(order, start=1):
            walk.advance(cv2.cvtColor(video.frames[t], cv2.COLOR_RGB2GRAY), t)
            self._context.progress(step, len(order), "forwards" if forwards else "backwards")
            if step % _RELEASE_EVERY == 0:
                video.release()
            yield t, walk
        video.release()
