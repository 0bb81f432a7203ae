"""The convex hull of tracked points, as half planes in 64 directions: at most a thousandth of its size too large."""

from __future__ import annotations

import numpy as np

from vswap_canonical.turns import Complex, Real
from vswap_kernel.types import BoolArray

_DIRECTIONS = np.exp(2j * np.pi * np.arange(64) / 64)


def inside_hull(points: Complex, places: Complex, margin: float) -> BoolArray:
    """bool [...], whether places [...] are in the convex hull of points [N], or out of it by at most `margin`."""
    return np.asarray((_along(places) <= _reach(points) + margin).all(-1))


def share_inside(points: Complex, places: Complex, offset: Complex) -> Real:
    """How much of each move, from places [M] by offsets [M], stays inside the hull of points [N]: 0..1."""
    room, step = np.maximum(_reach(points) - _along(places), 0), _along(offset)
    share = np.where(step > 0, room / np.where(step > 0, step, 1.0), np.inf).min(-1)
    return np.asarray(np.minimum(share, 1.0))


def _along(places: Complex) -> Real:
    """How far places [...] lie in each direction: [..., 64]."""
    return np.asarray((places[..., None] * _DIRECTIONS.conj()).real)


def _reach(points: Complex) -> Real:
    """How far the points reach in each direction: [64]."""
    return np.asarray(_along(points).max(0, initial=-np.inf))
