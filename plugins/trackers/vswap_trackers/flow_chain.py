"""Points on their way through the frames in one direction, each frame reached from several earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray, PointQueries
from vswap_optical_flow.dense_flow import DenseFlow
from vswap_trackers.contract import inside
from vswap_trackers.fellows import Fellows
from vswap_trackers.group_motion import Similarity, fit_similarity
from vswap_trackers.looks import Looks
from vswap_trackers.patches import align, correlation, grid, normalise, sample, search
from vswap_trackers.redetection import Redetection
from vswap_trackers.visibility import VisibilityRule
from vswap_trackers.working_size import Frame

_PATCH = 11
_FLOW_PATCH, _FLOW_STRIDE = 6, 2
"""Pixels; its preset's 8 and 3 slip off legs more often."""
_HOP = 0.3
"""Pixels of doubt that each hop adds, so that few long hops are preferred to many short ones."""
_WORST = 10.0
"""Pixels of doubt that a hop's miss, or its leap, adds at most."""
_LEAP = 0.5
"""Pixels of doubt for each pixel by which a long hop ends elsewhere than the shortest: legs look alike."""
_LOOKS = 0.3
"""Pixels of doubt for each level (of 255) by which a place looks other than the point does."""
_UNSEEN = 20.0
"""Pixels of doubt that a hop costs from a frame in which the point was hidden."""
_GUESS = 3.0
"""Pixels of doubt that following its fellows costs: only where the flow fails."""
_LEAST_EXTENT = 8.0
_SURE = 1.0
"""Pixels by which the flow back may miss for a point to have a say in the common motion."""
_LEVELS = 12.0
"""Levels of 255 at which places are alike by 1/e."""
_CHANCE = 0.4
"""Correlation that patches of different things may have."""
_HOME = 2.0
"""Pixels by which a point may be pulled back to its keyframe's look at once; more would be another place."""
_SAME = 0.8
"""Correlation from which on a patch is the keyframe's own."""
_ELSEWHERE = 20.0
"""Pixels off from which on a point was on something else."""
_UNPROVEN = 0.6
"""Confidence in the place of a hidden point that is expected there, and not found by its patch."""
_ALONG, _NEAR = 0.25, 0.5
"""Over the points' extent: how near a point's fellows are, from frame to frame and since their keyframes."""
_REACH = 16
"""Pixels from where it is expected within which a hidden point is sought."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """N points in one frame. Places are in pixels of the scaled frame.

    Attributes:
        xy: float32 [N, 2].
        carried: float32 [N, 2], where the common motion alone takes them from their keyframes.
        trust: float32 [N] in 0..1, see `VisibilityRule`.
        visible: bool [N].
        sure_before: [N], the frame in which a point was last sure, where it is found again far from where it was
            believed to be since; else -1.
    """

    xy: FloatArray
    carried: FloatArray
    trust: FloatArray
    visible: BoolArray
    sure_before: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Past:
    """A frame behind, and where the points were in it; `doubt` is infinite for points that hadn't joined."""

    frame: Frame
    xy: FloatArray
    doubt: FloatArray


class FlowChain:
    """N points walking through frames; they join at their keyframes.

    Each frame is reached from several earlier ones, and a point goes where the doubt is least: that of where it came
    from, and of the hop (Neoral, Serych and Matas, "MFT: Long-Term Tracking of Every Pixel", WACV 2024; their
    uncertainty is learned, ours is how far the flow back misses and how the place looks).
    """

    def __init__(self, queries: PointQueries, gaps: Sequence[int], rule: VisibilityRule) -> None:
        """queries: in pixels of the scaled frames; gaps: in frames, the first is 1."""
        count = len(queries.names)
        self._queries, self._gaps, self._rule = queries, tuple(gaps), rule
        self._flow = DenseFlow(_FLOW_PATCH, _FLOW_STRIDE)
        self._past: deque[_Past] = deque(maxlen=max(gaps))
        self._offsets, self._looks = grid(_PATCH), Looks(count)
        self._patch: FloatArray = np.zeros((count, len(self._offsets)), np.float32)
        # rotation and scale of each point's surroundings since its keyframe
        self._linear: FloatArray = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
        self._xy, self._carried = queries.xy.copy(), queries.xy.copy()
        self._redetection, self._fellows = Redetection(), Fellows(count)
        self._sure_in, self._sure_before = np.zeros(count, np.intp), np.full(count, -1, np.intp)
        self._doubt: FloatArray = np.full(count, np.inf, np.float32)
        self._trust: FloatArray = np.zeros(count, np.float32)
        self._joined, self._visible = np.zeros(count, bool), np.zeros(count, bool)

    def advance(self, frame: Frame, t: int) -> Evidence:
        """Move all joined points into frame number t, and let those join whose keyframe it is."""
        if self._joined.any():
            self._move(frame, t)
        new = self._queries.frame == t
        self._redetection.join(frame, self._xy, new)
        self._sure_in[new] = t
        self._looks.learn(frame.colour, self._xy, self._linear, new)
        self._patch[new] = normalise(sample(frame.grey, self._xy[new], self._linear[new], self._offsets))
        self._joined, self._visible = self._joined | new, self._visible | new
        self._doubt, self._trust = np.where(new, np.float32(0.0), self._doubt), np.where(new, 1.0, self._trust)
        known = np.where(self._visible, self._doubt, self._doubt + _UNSEEN)
        self._past.appendleft(_Past(frame, self._xy, known))
        return Evidence(self._xy, self._carried, self._trust.astype(np.float32), self._visible, self._sure_before)

    def _move(self, frame: Frame, t: int) -> None:
        places, doubts, misses = self._hops(frame)
        motion = self._common_motion(places[0], misses[0])
        self._fellows.watch(places[0] - self._xy, self._sure(misses[0]))
        self._linear[self._joined] = motion.matrix @ self._linear[self._joined]
        self._carried = np.where(self._joined[:, None], motion.apply(self._carried), self._xy)
        guess = self._past[0].doubt + _GUESS
        places = np.concatenate([places, self._with_fellows(places[0], misses[0])[None]])
        doubts = np.concatenate([doubts, guess[None]])
        doubts += _LOOKS * self._looks.unlike(frame.colour, places, self._linear)
        best, every = doubts.argmin(axis=0), np.arange(len(guess))
        # what the others' motion says can't be tracked back: the point's own flow tells whether it is still seen
        miss = np.concatenate([misses, misses[:1]])[best, every]
        place = self._home(frame, places[best, every])
        doubt, miss = doubts[best, every], np.minimum(miss, misses[0])
        self._find_again(frame, t, place, doubt, miss)
        self._settle(frame, place, doubt, miss)

    def _hops(self, frame: Frame) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Where the flow from G earlier frames leads [G, N, 2], in what doubt [G, N], and by how many pixels the flow
        back misses [G, N]."""
        reached = [self._past[gap - 1] for gap in self._gaps if gap <= len(self._past)]
        found = [self._flow.both_ways(past.frame.grey, frame.grey, past.xy) for past in reached]
        places, misses = np.stack([place for place, _ in found]), np.stack([miss for _, miss in found])
        leap = np.linalg.norm(places - places[0], axis=2)
        doubts = np.stack([past.doubt for past in reached]) + _HOP
        return places, doubts + np.minimum(misses, _WORST) + _LEAP * np.minimum(leap, _WORST), misses

    def _sure(self, misses: FloatArray) -> BoolArray:
        """Which points have a say in the others' motion, bool [N]: visible ones whose flow comes back."""
        return self._visible & (misses < _SURE)

    def _common_motion(self, places: FloatArray, misses: FloatArray) -> Similarity:
        """From the frame before, by the visible points whose flow comes back."""
        sure = self._sure(misses)
        return fit_similarity(self._xy[sure], places[sure]) if sure.any() else Similarity()

    def _with_fellows(self, places: FloatArray, misses: FloatArray) -> FloatArray:
        """Where the points would be [N, 2] if they moved as their fellows do, whose flow from the frame before leads to
        places [N, 2] and comes back."""
        step, sure, every = places - self._xy, self._sure(misses), np.arange(len(places))
        return self._xy + self._fellows.mean(step, sure, every, self._carried, _ALONG * self._extent())

    def _extent(self) -> float:
        """Pixels: how far the points lie from their middle."""
        centred = self._carried[self._joined] - np.median(self._carried[self._joined], axis=0)
        return max(_LEAST_EXTENT, float(np.sqrt(np.square(centred).sum(axis=1).mean())))

    def _home(self, frame: Frame, place: FloatArray) -> FloatArray:
        """Places [N, 2] without the small drift of those that still look as on their keyframe."""
        home = align(frame.grey, self._patch, place, self._linear)
        near = np.linalg.norm(home - place, axis=1) <= _HOME
        return np.where(((self._likeness(frame, home) >= _SAME) & near)[:, None], home, place)

    def _likeness(self, frame: Frame, place: FloatArray) -> FloatArray:
        """Correlation [N] of what is at places [N, 2] with the points' looks on their keyframes."""
        return correlation(normalise(sample(frame.grey, place, self._linear, self._offsets)), self._patch)

    def _find_again(self, frame: Frame, t: int, place: FloatArray, doubt: FloatArray, miss: FloatArray) -> None:
        """Take those of the points at places [N, 2] that are surely elsewhere to there, in no doubt [N], with no miss
        [N] on the way back."""
        likeness = self._likeness(frame, place)
        self._sure_in[self._joined & (likeness >= _SAME)] = t
        self._sure_before = np.full(len(place), -1, np.intp)
        since = np.abs(t - self._sure_in)
        for found in self._redetection.find(frame, place, likeness, _SAME, since, t, self._patch, self._looks):
            which = found.which
            off = which[np.linalg.norm(found.xy - place[which], axis=1) > _ELSEWHERE]
            self._sure_before[off] = self._sure_in[off]
            place[which], self._linear[which] = found.xy, found.linear
            doubt[which], miss[which], self._sure_in[which] = 0.0, 0.0, t
            for past in self._past:
                past.doubt[which] = np.inf

    def _settle(self, frame: Frame, place: FloatArray, doubt: FloatArray, miss: FloatArray) -> None:
        """Take the points to places [N, 2], or where they are hidden there, to where they are found or expected."""
        trust = self._trust_at(frame, place, miss, 1.0)
        visible = self._joined & self._rule.decide(trust, self._visible)
        lost = np.flatnonzero(self._joined & ~visible)
        if len(lost):
            expected = self._expected(place, visible, lost)
            found, score = search(frame.grey, self._patch[lost], expected, self._linear[lost], _REACH)
            found = align(frame.grey, self._patch[lost], found, self._linear[lost])
            again = score >= _SAME
            place[lost] = np.where(again[:, None], found, expected)
            own = np.ones(len(place), np.float32)
            own[lost] = np.where(again, 1.0, _UNPROVEN)
            miss = np.where(visible, miss, np.float32(0.0))
            trust = self._trust_at(frame, place, miss, own)
            visible = self._joined & np.where(visible, True, trust >= self._rule.show)
        self._visible = visible
        self._trust = np.where(self._joined, trust, self._trust)
        self._xy = np.where(self._joined[:, None], place, self._xy).astype(np.float32)
        self._doubt = np.where(self._joined, doubt, self._doubt).astype(np.float32)
        self._looks.follow(frame.colour, self._xy, self._linear, self._visible)

    def _expected(self, place: FloatArray, visible: BoolArray, lost: NDArray[np.intp]) -> FloatArray:
        """Where the points `lost` [K] are to be expected, [K, 2], by those that are visible at places [N, 2]: each is
        as far from where the common motion carries it as its fellows are from where it carries them."""
        away, reach = place - self._carried, _NEAR * self._extent()
        away = self._fellows.mean(away, visible, lost, self._carried, reach)
        return np.asarray(self._carried[lost] + away, np.float32)

    def _trust_at(self, frame: Frame, place: FloatArray, miss: FloatArray, own: FloatArray | float) -> FloatArray:
        """Alike is what has the keyframe's colours, or its structure: light changes the one, plain paint has not the
        other."""
        unlike = self._looks.unlike_keyframe(frame.colour, place, self._linear)
        structure = (self._likeness(frame, place) - _CHANCE) / (1 - _CHANCE)
        alike = np.maximum(np.exp(-unlike / _LEVELS), structure)
        # the border is repeated outwards, where everything looks like it
        return self._rule.trust(own, miss, alike * inside(place, frame.grey.shape[::-1]))
