"""`feature-match`: an embedder's features of each point, found again frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vswap_kernel.api import Context
from vswap_kernel.types import ByteArray, PointQueries, PointTracks, Video
from vswap_trackers.contract import finished, inside, require_keyframes
from vswap_trackers.feature_walk import FeatureWalk
from vswap_trackers.plausibility import plausible
from vswap_trackers.register import FeatureMatchOptions
from vswap_trackers.visibility import VisibilityRule, bridged

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 8
"""Frames whose maps are in memory at once."""


class FeatureSource(Protocol):
    """What is asked of an embedder that offers "feature-maps"."""

    def feature_maps(self, frames: ByteArray, /) -> Tensor:
        """Maps float32 [n, C, h, w] of frames uint8 [n, H, W, 3]; cells cover the frame evenly."""
        ...


class FeatureMatch:
    """Tracker that looks for what a point is, not for how its pixels shine: DIFT and DINOv2 know an eye from a wheel.

    In each frame a point is sought by cosine in a window around where the common motion of all points takes it: its
    features of the keyframe, or its recent ones, whichever fits better. The place is the mean of the cells around the
    best, weighted by their fit, so that it is finer than a cell. A hidden point is sought in a window four times as
    wide. Visible or not is decided by `VisibilityRule`: by the features of the keyframe, and the same search in the
    frame before, where the point was seen there. What parts from the common motion by more than half a window in one
    frame is hidden, and what `plausible` finds.

    It is as coarse as the embedder's cells are, and needs no texture. The config's `embedder` must offer
    "feature-maps".
    """

    def __init__(self, options: FeatureMatchOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._rule = VisibilityRule(options.max_error, options.hide, options.show)

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames; confidence is the rule's trust.

        Raises:
            InputError: a keyframe beyond the end of the video.
        """
        require_keyframes(video, queries)
        frames, count = len(video), len(queries.names)
        xy = np.tile(queries.xy, (frames, 1, 1))
        carried, trust, visible = xy.copy(), np.zeros((frames, count), np.float32), np.zeros((frames, count), bool)
        visible[queries.frame, np.arange(count)] = True
        for step in (1, -1) if count else ():
            walk = FeatureWalk(queries, video.size, self._options, self._rule)
            for t, maps in self._maps(video, queries, step):
                walk.advance(maps, t)
                past = (t - queries.frame) * step > 0
                xy[t, past], carried[t, past] = walk.xy[past], walk.carried[past]
                trust[t, past], visible[t, past] = walk.trust[past], walk.visible[past]
        visible &= inside(xy, video.size)
        tracks = finished(queries, video.size, bridged(xy, visible, carried), visible, trust)
        return plausible(self._options, video, queries, tracks)

    def _maps(self, video: Video, queries: PointQueries, step: int) -> Iterator[tuple[int, Tensor]]:
        """Frame numbers from the first keyframe on, in walking order, with the features [C, h, w] of each."""
        source: FeatureSource = self._context.components["embedder"]
        order = range(queries.frame.min(), len(video)) if step > 0 else range(queries.frame.max(), -1, -1)
        if len(order) == 1:
            return  # nothing lies on this side of any keyframe
        for start in range(0, len(order), _CHUNK):
            numbers = np.asarray(order[start : start + _CHUNK])
            yield from zip(numbers.tolist(), source.feature_maps(video.frames[numbers]), strict=True)
            self._context.progress(start + len(numbers), len(order), "forwards" if step > 0 else "backwards")
            video.release()
