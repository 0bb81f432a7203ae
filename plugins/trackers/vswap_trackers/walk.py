"""The state of points on their way through the frames in one direction, and what happens to it from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointQueries
from vswap_trackers.flow import LocalFlow, local_flow
from vswap_trackers.group_motion import Similarity, fit_similarity
from vswap_trackers.patches import align, correlation, grid, normalise, sample, search, unit_length
from vswap_trackers.register import LucasKanadeOptions

_FOLLOW = 0.2
"""How fast the recent look follows what is seen: about five frames. Faster, and an occluder becomes the point."""
_DRIFT = 2.0
"""Pixels by which a point may be pulled back to its keyframe's look at once; more would be another place."""
_LEAVING = 0.2
_JITTER = 2.0
"""Pixels; how far from its expected place a point of a resting subject is as good as anywhere."""
_LEAST_STRAY = 4.0
"""Pixels; points of a small subject may always be that far from where the common motion carries them."""
_BLIND_REACH = 4
"""How many times farther points are looked for while none is followed, so that nothing tells where they are."""
_FADE = 0.9
"""Confidence that a hidden point keeps from frame to frame."""


class Walk:
    """N points walking through frames. Points join at their keyframe; those that haven't joined are not visible.

    Attributes:
        xy: float32 [N, 2] pixels.
        visible: bool [N].
        confidence: float32 [N] in 0..1.
    """

    def __init__(self, options: LucasKanadeOptions, queries: PointQueries) -> None:
        count = len(queries.names)
        self._options, self._queries = options, queries
        self.xy: FloatArray = queries.xy.copy()
        self.visible: BoolArray = np.zeros(count, bool)
        self.confidence: FloatArray = np.zeros(count, np.float32)
        self._joined: BoolArray = np.zeros(count, bool)
        # rotation and scale of each point's surroundings since its keyframe
        self._linear: FloatArray = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
        self._offsets = grid(options.window)
        self._anchor: FloatArray = np.zeros((count, len(self._offsets)), np.float32)
        self._recent: FloatArray = self._anchor.copy()
        # where the common motion alone takes each point from its keyframe: a way back for one that slid off the subject
        self._carried: FloatArray = queries.xy.copy()
        self._motion = Similarity()
        self._guided = True
        self._before: ByteArray | None = None

    def advance(self, grey: ByteArray, t: int) -> None:
        """Move all joined points into frame number t, `grey` [H, W], and let those join whose keyframe it is."""
        if self._before is not None and self._joined.any():
            self._move(self._before, grey)
        new = self._queries.frame == t
        look = normalise(sample(grey, self.xy[new], self._linear[new], self._offsets))
        self._anchor[new], self._recent[new] = look, look
        self._joined |= new
        self.visible |= new
        self.confidence[new] = 1.0
        self._before = grey

    def _move(self, before: ByteArray, grey: ByteArray) -> None:
        """Take the points from the frame `before` [H, W] into the next one, `grey` [H, W]."""
        options = self._options
        flow = self._flow_of_visible(before, grey)
        self._follow_together(flow, grey)
        expected = self._bound(self._motion.apply(self.xy), grey)
        place = self._most_likely(grey, [flow.own, flow.median, expected, self._carried], expected)
        good = flow.error <= options.max_error
        index = np.flatnonzero(good)
        place[index] = self._pull_back(grey, index, place[index])

        look = normalise(sample(grey, place, self._linear, self._offsets))
        likeness = correlation(look, self._recent)
        astray = self._astray(place)
        tracked = good & (likeness >= options.min_correlation) & _inside(place, grey) & ~astray
        self._recent[tracked] = unit_length((1 - _FOLLOW) * self._recent[tracked] + _FOLLOW * look[tracked])
        doubt = np.minimum(flow.error, options.max_error) / (2 * options.max_error)
        trust = np.where(tracked, likeness * (1 - doubt), self.confidence * _FADE)

        lost = np.flatnonzero(self._joined & ~tracked)
        guess = np.where(astray[:, None], self._carried, expected)[lost]
        found_at, found_likeness = self._look_for(grey, lost, guess)
        found = (found_likeness >= options.found_correlation) & _inside(found_at, grey)
        place[lost] = np.where(found[:, None], found_at, guess)
        trust[lost] = np.where(found, 0.5 * found_likeness, trust[lost])
        self.visible = tracked
        self.visible[lost] = found
        self.xy = np.where(self._joined[:, None], place, self.xy)
        self.confidence = np.clip(trust, 0.0, 1.0).astype(np.float32)

    def _follow_together(self, flow: LocalFlow, grey: ByteArray) -> None:
        """Find the common motion, and let it turn the points' surroundings and carry their second places.

        flow: of the N points into `grey` [H, W].
        """
        followed, joined = np.isfinite(flow.own[:, 0]), self._joined[:, None]
        self._guided = bool(followed.any())
        if self._guided:
            self._motion = fit_similarity(self.xy[followed], flow.own[followed])
        else:
            self._motion = self._motion.damped()
        self._linear[self._joined] = self._motion.matrix @ self._linear[self._joined]
        self._carried = np.where(joined, self._bound(self._motion.apply(self._carried), grey), self.xy)

    def _astray(self, place: FloatArray) -> BoolArray:
        """Which points, bool [N], are at a place [N, 2] too far from where the common motion carries them to be on the
        same subject."""
        away = np.linalg.norm(place - self._carried, axis=1)
        centred = self._carried[self._joined] - np.median(self._carried[self._joined], axis=0)
        if len(centred) < 3:
            return np.zeros(len(place), bool)
        extent = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
        return np.asarray(away > max(self._options.stray * extent, _LEAST_STRAY))

    def _flow_of_visible(self, before: ByteArray, grey: ByteArray) -> LocalFlow:
        """The flow of all N points from `before` to `grey` [H, W]; those that aren't visible count as lost."""
        options, seen = self._options, self.visible
        flow = local_flow(before, grey, self.xy[seen], options.window, options.levels, options.max_error)
        own, median = np.full((2, *self.xy.shape), np.nan, np.float32)
        error = np.full(len(self.xy), np.inf, np.float32)
        own[seen], median[seen], error[seen] = flow.own, flow.median, flow.error
        return LocalFlow(own, median, error)

    def _most_likely(self, grey: ByteArray, candidates: Sequence[FloatArray], expected: FloatArray) -> FloatArray:
        """For each point the one of the candidate places [N, 2] that looks most like the point did lately: [N, 2].

        Leaving the expected place [N, 2] costs up to `_LEAVING` of correlation: otherwise a point at the subject's edge
        slips to the ground behind it, bit by bit. Candidates that aren't finite are replaced by the expected place.
        """
        places = np.stack(candidates, axis=1)
        places = np.where(np.isfinite(places), places, expected[:, None])
        count = places.shape[1]
        linear = np.repeat(self._linear, count, axis=0)
        looks = normalise(sample(grey, places.reshape(-1, 2), linear, self._offsets))
        likeness = correlation(looks, np.repeat(self._recent, count, axis=0)).reshape(-1, count)
        away = np.linalg.norm(places - expected[:, None], axis=2) / (abs(self._motion.shift) + _JITTER)
        score = likeness - _LEAVING * np.minimum(away, 1.0)
        return np.asarray(places[np.arange(len(places)), score.argmax(axis=1)])

    def _pull_back(self, grey: ByteArray, index: NDArray[np.intp], xy: FloatArray) -> FloatArray:
        """Places xy [K, 2] of the points `index` [K], without the small drift of those that still look as on their
        keyframe: [K, 2]."""
        anchor, linear = self._anchor[index], self._linear[index]
        home = align(grey, anchor, xy, linear)
        same = correlation(normalise(sample(grey, home, linear, self._offsets)), anchor)
        near = np.linalg.norm(home - xy, axis=1) <= _DRIFT
        return np.where(((same >= self._options.found_correlation) & near)[:, None], home, xy)

    def _look_for(
        self, grey: ByteArray, index: NDArray[np.intp], expected: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """For the points `index` [K] the best place [K, 2] near the expected one [K, 2], by the keyframe's look or the
        last one seen, and its correlation [K]."""
        linear, radius = self._linear[index], self._options.search_radius
        if not self._guided:
            radius *= _BLIND_REACH
        anchor, recent = self._anchor[index], self._recent[index]
        anchor_at, anchor_score = search(grey, anchor, expected, linear, radius)
        recent_at, recent_score = search(grey, recent, expected, linear, radius)
        by_anchor = (anchor_score >= recent_score)[:, None]
        patch = np.where(by_anchor, anchor, recent)
        place = align(grey, patch, np.where(by_anchor, anchor_at, recent_at), linear)
        return place, correlation(normalise(sample(grey, place, linear, self._offsets)), patch)

    def _bound(self, xy: FloatArray, grey: ByteArray) -> FloatArray:
        """Places [N, 2] held within one frame's size of the frame, so that no guess of hidden points runs away."""
        size = np.array(grey.shape[::-1], np.float32)
        return np.clip(xy, -size, 2 * size)


def _inside(xy: FloatArray, grey: ByteArray) -> BoolArray:
    """Which places [N, 2] are on a pixel of the frame [H, W]: bool [N]."""
    height, width = grey.shape
    return np.asarray((xy >= -0.5).all(axis=1) & (xy[:, 0] <= width - 0.5) & (xy[:, 1] <= height - 0.5))
