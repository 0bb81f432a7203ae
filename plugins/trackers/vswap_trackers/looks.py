"""How points look in colour: soft colours around them, upright, compared level by level.

Correlation (`patches`) sees structure and no paint; on a plain surface it says nothing. These colours do, and an
occluder of another colour doesn't pass for the point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray
from vswap_optical_flow.dense_flow import read_at
from vswap_trackers.patches import grid

_SIDE = 11
_FOLLOW = 0.2
"""How fast the recent look follows what is seen: about five frames. Faster, and an occluder becomes the point."""


class Looks:
    """The looks of N points: on their keyframes, and lately."""

    def __init__(self, count: int) -> None:
        self._offsets = grid(_SIDE)
        weight = np.exp(-np.square(self._offsets).sum(axis=1) / (2 * (_SIDE / 4) ** 2))
        self._weight: FloatArray = (weight / weight.sum()).astype(np.float32)
        self._key: FloatArray = np.zeros((count, len(self._offsets), 3), np.float32)
        self._recent = self._key.copy()

    def learn(self, colour: FloatArray, xy: FloatArray, linear: FloatArray, which: BoolArray) -> None:
        """Note how the points `which` [N] look on their keyframe."""
        self._key[which] = self._recent[which] = self._around(colour, xy[which], linear[which])

    def follow(self, colour: FloatArray, xy: FloatArray, linear: FloatArray, which: BoolArray) -> None:
        """Let the recent look of the points `which` [N] come nearer to what is seen."""
        look = self._around(colour, xy[which], linear[which])
        self._recent[which] = (1 - _FOLLOW) * self._recent[which] + _FOLLOW * look

    def unlike(self, colour: FloatArray, xy: FloatArray, linear: FloatArray) -> FloatArray:
        """By how many levels of 255, float32 [C, N], C places [C, N, 2] for each point look other than it did on its
        keyframe or lately, whichever is nearer."""
        look = self._around(colour, xy, linear)
        return np.minimum(self._apart(look, self._key), self._apart(look, self._recent))

    def unlike_keyframe(
        self, colour: FloatArray, xy: FloatArray, linear: FloatArray, which: NDArray[np.intp] | slice = slice(None)
    ) -> FloatArray:
        """The same float32 [K] of places [K, 2] of the points `which`, all by default, compared with the keyframe
        alone.

        The recent look would learn whatever a point slides onto, little by little.
        """
        return self._apart(self._around(colour, xy, linear), self._key[which])

    def _apart(self, look: FloatArray, known: FloatArray) -> FloatArray:
        return np.asarray(np.abs(look - known).mean(axis=-1) @ self._weight, np.float32)

    def _around(self, colour: FloatArray, xy: FloatArray, linear: FloatArray) -> FloatArray:
        """Colours float32 [..., N, K, 3] around places [..., N, 2], turned by linear [N, 2, 2]."""
        return read_at(colour, xy[..., None, :] + self._offsets @ linear.transpose(0, 2, 1))
