"""Who of the points moves like whom: the ones that say where another is to be expected.

Points near by aren't enough: a leg passes another leg, and the ground is near everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray

_WITNESSES = 256
"""Points that the others are compared with, at most, so that memory stays flat."""
_CLOSEST = 5
"""The fellow that says how alike motions are at all, counted from the most alike."""
_JITTER = 1.0
"""Pixels a frame by which motions may differ and be alike."""
_FORGET = 0.2
_TINY = 1e-9


class Fellows:
    """N points; M of them, at regular distances in their order, are the witnesses."""

    def __init__(self, count: int) -> None:
        self._witness = np.arange(0, count, -(-count // _WITNESSES) or 1)
        # mean square of how much motions differ [N, M], of late, and from how many frames
        self._apart: FloatArray = np.zeros((count, len(self._witness)), np.float32)
        self._frames = self._apart.copy()

    def watch(self, step: FloatArray, sure: BoolArray) -> None:
        """Learn from the pixels [N, 2] by which points moved from one frame to the next, of those that are sure [N]."""
        both = sure[:, None] & sure[self._witness]
        now = np.square(step[:, None] - step[self._witness]).sum(axis=2)
        rate = np.maximum(_FORGET, 1 / (self._frames + 1))
        self._apart = np.where(both, self._apart + rate * (now - self._apart), self._apart).astype(np.float32)
        self._frames += both

    def mean(
        self, values: FloatArray, of: BoolArray, points: NDArray[np.intp], places: FloatArray, reach: float
    ) -> FloatArray:
        """For each of the points [K] the mean [K, 2] of values [N, 2] over the witnesses `of` [N] that are near it and
        move alike, itself left out; 0 where there are none.

        Near is by places [N, 2], a Gaussian of standard deviation `reach`. Alike is a Gaussian too, whose standard
        deviation is 1 px a frame, or that of the point's fifth most alike fellow where they differ more.
        """
        asked, fifth = of[self._witness], min(_CLOSEST, len(self._witness)) - 1
        if not asked.any():
            return np.zeros((len(points), 2), np.float32)
        witness = self._witness[asked]
        apart = np.where(points[:, None] == self._witness, np.inf, self._apart[points])
        # points that haven't met differ in nothing
        usual = np.partition(apart, fifth, axis=1)[:, fifth]
        alike = np.maximum(np.where(np.isfinite(usual), usual, 0.0), _JITTER**2)
        off = np.square(places[points, None] - places[witness]).sum(axis=2) / (2 * np.square(reach))
        off += apart[:, asked] / (2 * alike[:, None])
        least = off.min(axis=1, keepdims=True)
        weight = np.exp(np.where(np.isfinite(least), least, 0.0) - off)
        return np.asarray(weight @ values[witness] / np.maximum(weight.sum(axis=1, keepdims=True), _TINY), np.float32)
