"""The common motion of a set of points: a similarity, robust to points that move on their own.

Plane points are complex numbers x + iy here: a similarity is then z -> a z + b, and its least-squares fit is one line
(Umeyama, "Least-squares estimation of transformation parameters between two point patterns", TPAMI 1991, in 2D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import FloatArray

_ROUNDS = 10
_SMALLEST_SCALE = 0.5
"""Pixels; keeps the robust weights finite when the points agree exactly."""
_LARGEST_STEP = 0.15
"""Between two frames a subject hardly grows or turns by more; a fit that says so rests on too few points."""
_DAMPING = 0.8


@dataclass(frozen=True)
class Similarity:
    """z -> turn * (z - centre) + centre + shift, all complex; turn holds rotation and scale."""

    turn: complex = 1.0 + 0.0j
    centre: complex = 0.0j
    shift: complex = 0.0j

    def apply(self, xy: FloatArray) -> FloatArray:
        """Where points xy [N, 2] go."""
        moved = self.turn * (_as_complex(xy) - self.centre) + self.centre + self.shift
        return np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)

    @property
    def matrix(self) -> FloatArray:
        """Rotation and scale as float32 [2, 2], applied to column vectors (x, y)."""
        return np.array([[self.turn.real, -self.turn.imag], [self.turn.imag, self.turn.real]], np.float32)

    def damped(self) -> Similarity:
        """The motion to expect next when nothing is seen: the same way, slower, without turning."""
        return Similarity(1.0 + 0.0j, self.centre + self.shift, self.shift * _DAMPING)


def _as_complex(xy: FloatArray) -> NDArray[np.complex128]:
    """Points [..., 2] as complex128 [...]."""
    return xy[..., 0].astype(np.float64) + 1j * xy[..., 1].astype(np.float64)


def fit_similarity(source: FloatArray, target: FloatArray, largest: float = _LARGEST_STEP) -> Similarity:
    """The similarity that takes most of source [N, 2] to target [N, 2] pixels, N at least 1.

    Iteratively reweighted least squares with Cauchy weights, their scale the median residual; it starts from the median
    shift. With one or two points it is a pure shift, as where it would turn or grow by more than `largest`.
    """
    start, end = _as_complex(source), _as_complex(target)
    flow = end - start
    turn, centre = 1.0 + 0.0j, complex(start.mean())
    shift = complex(np.median(flow.real), np.median(flow.imag))
    for _ in range(_ROUNDS):
        residual = np.abs(turn * (start - centre) + centre + shift - end)
        scale = max(_SMALLEST_SCALE, float(np.median(residual)))
        weight = 1.0 / (1.0 + (residual / scale) ** 2)
        weight /= weight.sum()
        centre = complex((weight * start).sum())
        goal = complex((weight * end).sum())
        shift = goal - centre
        arm = start - centre
        spread = float((weight * np.abs(arm) ** 2).sum())
        if len(start) > 2 and spread > 1.0:
            turn = complex((weight * arm.conj() * (end - goal)).sum() / spread)
        if abs(turn - 1.0) > largest:
            turn = 1.0 + 0.0j
    return Similarity(turn, centre, shift)
