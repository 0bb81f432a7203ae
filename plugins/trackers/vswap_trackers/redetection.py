"""Points that were lost or dragged off, found again by the looks of their keyframe's surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray
from vswap_trackers.looks import Looks
from vswap_trackers.patches import align, correlation, grid, normalise, sample
from vswap_trackers.support_points import Corners, Guess, SupportPoints
from vswap_trackers.working_size import Frame

_LEARN_EVERY = 2
_STRENGTH = 1.0
"""Matches near a point that agree on a guess, at least, and support points that are seen where it has them."""
_PROOF = 2.2
_SURELY = 0.9
"""Correlation with the keyframe that a place needs at once, which is less by `_EASIER` for each frame since the point
was last sure, down to `_LEAST`: the longer ago, the less the place is worth that it has."""
_EASIER = 0.01
_LEAST = 0.6
_BETTER = 0.1
"""By how much more a place must correlate than the one that the point has."""
_UNLIKE = 15.0
"""Levels of 255 by which its colours may differ from the keyframe's."""
_ALIGN = 3.0
"""Pixels by which a guess is corrected at most."""
_REACH = 10.0
"""Pixels from where it is that a point is found at once, and `_FARTHER` more for each frame since it was last sure."""
_FARTHER = 2.0


@dataclass(frozen=True, eq=False)
class Found:
    """K points found elsewhere: numbers [K], places float32 [K, 2], turn and growth of their surroundings [K, 2, 2]."""

    which: NDArray[np.intp]
    xy: FloatArray
    linear: FloatArray


class Redetection:
    """Looks for the points that don't look as on their keyframes, by each keyframe's support points."""

    def __init__(self) -> None:
        self._groups: list[tuple[NDArray[np.intp], SupportPoints]] = []

    def join(self, frame: Frame, xy: FloatArray, new: BoolArray) -> None:
        """Take the support of the points `new` [N] at xy [N, 2], whose keyframe this is."""
        if new.any():
            self._groups.append((np.flatnonzero(new), SupportPoints(frame.grey, xy[new])))

    def find(
        self,
        frame: Frame,
        xy: FloatArray,
        likeness: FloatArray,
        same: float,
        since: NDArray[np.intp],
        t: int,
        patch: FloatArray,
        looks: Looks,
    ) -> list[Found]:
        """Points that are surely elsewhere than at xy [N, 2].

        Args:
            likeness: correlation float32 [N] with the keyframes at xy.
            same: from which likeness on a point is at home, so that it isn't sought, and its support learns.
            since: frames [N] for which points haven't been at home.
            t: the frame's number.
            patch: keyframe patches float32 [N, P*P] of the points.
            looks: their colours.
        """
        home = likeness >= same
        if not self._groups or (all(home[index].all() for index, _ in self._groups) and t % _LEARN_EVERY):
            return []
        now, found, place, likeness = Corners.of(frame.grey), [], xy.copy(), likeness.copy()
        for index, support in self._groups:
            support.learn(now, place[index], home[index])
            if home[index].all():
                continue
            for guess in support.guesses(now):
                better = self._better(frame, index, support, guess, place, likeness, since, patch, looks, same)
                place[better.which] = better.xy
                likeness[better.which] = self._likeness(frame, better.xy, better.linear, patch[better.which])
                found.append(better)
        return found

    def _better(
        self,
        frame: Frame,
        index: NDArray[np.intp],
        support: SupportPoints,
        guess: Guess,
        place: FloatArray,
        likeness: FloatArray,
        since: NDArray[np.intp],
        patch: FloatArray,
        looks: Looks,
        same: float,
    ) -> Found:
        """Which of the points `index` are better where the guess has them."""
        own = patch[index]
        xy = align(frame.grey, own, guess.xy, guess.linear)
        xy = np.where((np.linalg.norm(xy - guess.xy, axis=1) <= _ALIGN)[:, None], xy, guess.xy)
        score = self._likeness(frame, xy, guess.linear, own)
        needed = np.maximum(_LEAST, _SURELY - _EASIER * since[index])
        better = (guess.strength >= _STRENGTH) & (score >= needed) & (score > likeness[index] + _BETTER)
        far = np.linalg.norm(xy - place[index], axis=1) >= _REACH + _FARTHER * since[index]
        better &= (likeness[index] < same) & ~far
        before, after = (looks.unlike_keyframe(frame.colour, at, guess.linear, index) for at in (place[index], xy))
        better &= after <= np.minimum(before, _UNLIKE)
        chosen = np.flatnonzero(better)
        if len(chosen):
            chosen = chosen[support.proof(frame.grey, guess, chosen) >= _PROOF]
        return Found(index[chosen], xy[chosen], guess.linear[chosen])

    def _likeness(self, frame: Frame, xy: FloatArray, linear: FloatArray, patch: FloatArray) -> FloatArray:
        side = round(patch.shape[1] ** 0.5)
        return correlation(normalise(sample(frame.grey, xy, linear, grid(side))), patch)
