"""Support points: the textured places around the queries, found again by their looks wherever they are in a frame.

They are never in the answer. They are matched to a frame as a whole, from the keyframe, so that nothing that happened
in between (an occluder that dragged points along, a motion that was misjudged) bends what they say.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_trackers.patches import align, correlation, grid, normalise, sample

_SIDE = 11
_MOST_CORNERS = 2000
_MOST_SUPPORT = 800
_AROUND = 48.0
"""Pixels around a query from which its support is taken."""
_NEAR = 24.0
"""Pixels (standard deviation) within which support points speak for a query."""
_ALIKE = 0.75
"""Correlation of a corner with itself in another frame, at least."""
_APART = 1.0
"""Pixels by which points that move together may be found apart, and `_BENDING` more for each pixel between them."""
_BENDING = 0.05
_LOOSE = 0.1
"""As `_BENDING`, where it is asked who moves with a query at all: bodies bend."""
_STIFF = 200.0
"""Square pixels: points that are spread less don't turn or grow."""
_LEARN = 0.2
_KEPT_BACK = 1e-3
"""Weight of a support point that has never moved like the query: it may be all there is."""
_MATE = 0.3
"""Membership from which on a support point counts fully."""
_GUESSES = 2
_WITNESSES = 24
_MOVED = 3.0
_PROVEN = 0.6
"""Correlation from which on a support point is seen to be where a guess has it, within `_MOVED` pixels."""


@dataclass(frozen=True, eq=False)
class Corners:
    """The corners of one frame: places float32 [K, 2], and their normalised patches [K, P*P]."""

    xy: FloatArray
    look: FloatArray

    @classmethod
    def of(cls, grey: ByteArray) -> Corners:
        """Local maxima of the smaller eigenvalue (Shi and Tomasi, "Good Features to Track", CVPR 1994)."""
        strength = np.asarray(cv2.cornerMinEigenVal(cv2.GaussianBlur(grey, (0, 0), 1.0), 5))
        peak = (strength == cv2.dilate(strength, np.ones((5, 5), np.uint8))) & (strength > 1e-4)
        y, x = np.nonzero(peak)
        first = np.argsort(-strength[y, x], kind="stable")[:_MOST_CORNERS]
        xy = np.stack([x[first], y[first]], axis=1).astype(np.float32)
        return cls(xy, normalise(sample(grey, xy, _upright(len(xy)), grid(_SIDE))))


@dataclass(frozen=True, eq=False)
class Guess:
    """Where N queries may be: places float32 [N, 2], the turn and growth of their surroundings [N, 2, 2], and by how
    many matches near them each is held, float32 [N]. Places are their keyframe's where there are none."""

    xy: FloatArray
    linear: FloatArray
    strength: FloatArray


class SupportPoints:
    """The support of N queries of one keyframe."""

    def __init__(self, grey: ByteArray, queries: FloatArray) -> None:
        """grey: the keyframe uint8 [h, w]; queries: float32 [N, 2], N at least 1."""
        corners = Corners.of(grey)
        apart = _distances(queries, corners.xy)
        nearest = apart.min(axis=0)
        kept = np.argsort(nearest, kind="stable")[:_MOST_SUPPORT]
        kept = kept[nearest[kept] < _AROUND]
        self._queries, self._xy, self._look = queries, corners.xy[kept], corners.look[kept]
        self._apart = apart[:, kept]
        self._near: FloatArray = np.exp(-np.square(self._apart) / (2 * _NEAR**2))
        self._member: FloatArray = np.ones(self._apart.shape, np.float32)

    def learn(self, now: Corners, xy: FloatArray, sure: BoolArray) -> None:
        """Note which support points moved as the queries did that are `sure` [N] to be at xy [N, 2]."""
        ours, theirs = self._matches(now)
        if not len(ours) or not sure.any():
            return
        differ = _distances(xy - self._queries, now.xy[theirs] - self._xy[ours])
        like = _agreement(differ, _APART + _LOOSE * self._apart[:, ours])
        member = self._member[:, ours]
        self._member[:, ours] = np.where(sure[:, None], member + _LEARN * (like - member), member)

    def guesses(self, now: Corners) -> list[Guess]:
        """The best place of each query by the matches that agree on a motion, and the best by those that don't: what
        is behind a query moves together too."""
        ours, theirs = self._matches(now)
        if len(ours) < 3:
            return []
        start, end = self._xy[ours], now.xy[theirs]
        agree = _agreement(_distances(end - start, end - start), _APART + _BENDING * _distances(start, start))
        agree[agree < 0.1] = 0.0
        near = self._near[:, ours]
        weight = near * (np.square(self._member[:, ours]) + _KEPT_BACK)
        counted = near * np.minimum(self._member[:, ours] / _MATE, 1.0)
        score, found = weight * (weight @ agree), []
        for _ in range(_GUESSES):
            best = score.argmax(axis=1)
            xy, linear = self._fitted(start, end, weight * agree[best])
            found.append(Guess(xy, linear, (counted * agree[best]).sum(axis=1)))
            score = score * (agree[best] == 0.0)
        return found

    def proof(self, grey: ByteArray, guess: Guess, which: NDArray[np.intp]) -> FloatArray:
        """How many support points, weighted by nearness and membership, are seen where the guess has them, for the
        queries `which` [K]: float32 [K]."""
        weight = self._near[which] * self._member[which]
        witness = np.argsort(-weight, axis=1, kind="stable")[:, :_WITNESSES]
        arm = self._xy[witness] - self._queries[which, None]
        places = guess.xy[which, None] + arm @ guess.linear[which].transpose(0, 2, 1)
        places, look = places.reshape(-1, 2), self._look[witness].reshape(-1, self._look.shape[1])
        linear = np.repeat(guess.linear[which], witness.shape[1], axis=0)
        aligned = align(grey, look, places, linear)
        alike = correlation(normalise(sample(grey, aligned, linear, grid(_SIDE))), look)
        seen = (alike >= _PROVEN) & (np.linalg.norm(aligned - places, axis=1) <= _MOVED)
        return np.asarray((np.take_along_axis(weight, witness, axis=1) * seen.reshape(witness.shape)).sum(axis=1))

    def _matches(self, now: Corners) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Numbers of support points, and of the corners of a frame, that are each other's most alike."""
        if not len(self._xy) or not len(now.xy):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        alike = self._look @ now.look.T
        best, number = alike.argmax(axis=1), np.arange(len(self._xy))
        kept = (alike.argmax(axis=0)[best] == number) & (alike[number, best] >= _ALIKE)
        return number[kept], best[kept]

    def _fitted(self, start: FloatArray, end: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The queries [N, 2] moved by a similarity each, fitted to start -> end [K, 2] by weights [N, K]; and its
        matrix [N, 2, 2]. Plane points are complex numbers, as in `group_motion`."""
        weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
        before, after = (xy[:, 0] + 1j * xy[:, 1] for xy in (start, end))
        middle, goal = weight @ before, weight @ after
        arm, change = before - middle[:, None], (after - before) - (goal - middle)[:, None]
        spread = (weight * np.square(np.abs(arm))).sum(axis=1)
        turn = 1.0 + (weight * arm.conj() * change).sum(axis=1) / (spread + _STIFF)
        held = weight.sum(axis=1) > 0
        turn, own = np.where(held, turn, 1.0), self._queries[:, 0] + 1j * self._queries[:, 1]
        place = np.where(held, goal + turn * (own - middle), own)
        linear = np.stack([turn.real, -turn.imag, turn.imag, turn.real], axis=1).reshape(-1, 2, 2)
        return np.stack([place.real, place.imag], axis=1).astype(np.float32), linear.astype(np.float32)


def _agreement(apart: FloatArray, scale: FloatArray) -> FloatArray:
    return np.asarray(1.0 / np.square(1.0 + np.square(apart / scale)), np.float32)


def _distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """float32 [A, B] between places [A, 2] and [B, 2]."""
    return np.asarray(np.linalg.norm(first[:, None] - second[None], axis=2), np.float32)


def _upright(count: int) -> FloatArray:
    return np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
