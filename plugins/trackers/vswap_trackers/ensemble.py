"""`ensemble`: several trackers vote; who finds back to where it came from has more to say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Tracker
from vswap_kernel.types import BoolArray, FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.contract import finished, inside, require_keyframes
from vswap_trackers.members import made_members
from vswap_trackers.plausibility import plausible
from vswap_trackers.register import EnsembleOptions
from vswap_trackers.visibility import VisibilityRule
from vswap_trackers.voting import interpolated, mean_on_the_way, vote

_MOST = 2048
"""Points that a member is asked to track back in one go, so that memory stays flat."""
_TRIFLE = 1e-3
"""Weight that even a tracker nobody trusts keeps: somebody must win."""


class Ensemble:
    """Tracker made of others.

    Each member tracks the points, and then tracks back what it said on every `cycle`-th frame. How far the two ways lie
    apart on average between there and the keyframe is the miss of `VisibilityRule`, interpolated between those frames;
    with the member's own confidence it gives its weight. A point goes where the member says that the others, by their
    weights, are nearest to; members within `agree` pixels of it are averaged. It is visible by the weighted vote of
    the members, with the rule's hysteresis, unless `plausible` says otherwise.
    """

    def __init__(self, options: EnsembleOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._rule = VisibilityRule(options.max_error, options.hide, options.show)
        self._members = made_members(options.trackers, context)

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames; confidence is the share of the members' weights that agrees.

        Raises:
            InputError: a keyframe beyond the end of the video.
        """
        require_keyframes(video, queries)
        found, weights = [], []
        for index, member in enumerate(self._members):
            self._context.progress(index, len(self._members), self._options.trackers[index]["name"])
            tracks = member.track(video, queries)
            weights.append(self._rule.trust(tracks.confidence, self._misses(member, video, queries, tracks), 1.0))
            found.append(tracks)
        xy = np.stack([tracks.xy for tracks in found])
        weight = np.maximum(np.stack(weights), np.float32(_TRIFLE))
        place, agreement = vote(xy, weight, self._options.agree)
        seen = np.stack([tracks.visible for tracks in found])
        share = (weight * seen).sum(axis=0) / weight.sum(axis=0)
        visible = self._visible(share * inside(place, video.size), queries)
        tracks = finished(queries, video.size, place, visible, agreement)
        return plausible(self._options, video, queries, tracks)

    def _misses(self, member: Tracker, video: Video, queries: PointQueries, tracks: PointTracks) -> FloatArray:
        """By how many pixels float32 [T, N] the way back from each frame lies beside the way there, on average."""
        anchors = self._anchors(len(video), len(queries.names))
        if not len(anchors):
            return np.zeros(tracks.visible.shape, np.float32)
        limit = np.array(video.size, np.float32) - 1
        start = np.clip(tracks.xy[anchors], 0, limit)
        names = tuple(f"{anchor} {name}" for anchor in anchors for name in queries.names)
        frame = np.repeat(anchors, len(queries.names)).astype(np.int32)
        try:
            back = member.track(video, PointQueries(names, frame, start.reshape(-1, 2).astype(np.float32)))
        except InputError:
            # one that knows points by their names only (`file`, `pose`) has no way back: its confidence must do
            return np.zeros(tracks.visible.shape, np.float32)
        apart = np.linalg.norm(back.xy.reshape(len(video), *start.shape) - tracks.xy[:, None], axis=-1)
        return interpolated(mean_on_the_way(apart, anchors, queries.frame), anchors, len(video))

    def _anchors(self, frames: int, count: int) -> NDArray[np.intp]:
        """Numbers of the frames from which points are tracked back: none, or the first and the last among them."""
        most = _MOST // max(count, 1)
        wanted = 0 if self._options.cycle is None or not count else -(-frames // self._options.cycle)
        if not min(wanted, most):
            return np.zeros(0, np.intp)
        return np.unique(np.linspace(0, frames - 1, min(wanted, most) + 1).round().astype(np.intp))

    def _visible(self, share: FloatArray, queries: PointQueries) -> BoolArray:
        """bool [T, N] by the share [T, N] of votes for it, walking from each keyframe to both ends."""
        visible = np.zeros(share.shape, bool)
        visible[queries.frame, np.arange(share.shape[1])] = True
        for order in (range(1, len(share)), range(len(share) - 2, -1, -1)):
            for t in order:
                past = (t - queries.frame) * order.step > 0
                visible[t, past] = self._rule.decide(share[t], visible[t - order.step])[past]
        return visible
