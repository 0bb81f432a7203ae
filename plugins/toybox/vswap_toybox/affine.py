"""Plane affine maps as float64 [..., 2, 3] matrices: [a, b, c; d, e, f] takes (x, y) to (ax + by + c, dx + ey + f)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Affine = NDArray[np.float64]


def affine(a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike, e: ArrayLike, f: ArrayLike) -> Affine:
    """The maps [..., 2, 3] of these entries, broadcast against each other."""
    entries = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (a, b, c, d, e, f)))
    return np.stack(entries, -1).reshape(*entries[0].shape, 2, 3)


def scaling(x: ArrayLike, y: ArrayLike) -> Affine:
    """Stretch by x along x and y along y."""
    return affine(x, 0, 0, 0, y, 0)


def translation(x: ArrayLike, y: ArrayLike) -> Affine:
    """Move by (x, y)."""
    return affine(1, 0, x, 0, 1, y)


def rotation(angle: ArrayLike) -> Affine:
    """Turn by `angle` radians about the origin, from x towards y."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return affine(cosine, -sine, 0, sine, cosine, 0)


def chain(*maps: Affine) -> Affine:
    """One map that does what all do, the last one first."""
    result = maps[0]
    for inner in maps[1:]:
        linear = result[..., :2] @ inner[..., :2]
        offset = result[..., :2] @ inner[..., 2:] + result[..., 2:]
        result = np.concatenate([linear, offset], -1)
    return result


def inverse(maps: Affine) -> Affine:
    """The map that undoes each; none may be singular."""
    a, b, c, d, e, f = np.moveaxis(maps.reshape(*maps.shape[:-2], 6), -1, 0)
    det = a * e - b * d
    return affine(e / det, -b / det, (b * f - c * e) / det, -d / det, a / det, (c * d - a * f) / det)


def magnification(maps: Affine) -> NDArray[np.float64]:
    """[...] how much each map enlarges lengths: the root of its change of area."""
    linear = maps[..., :2]
    return np.sqrt(np.abs(linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0]))


def apply(maps: Affine, points: ArrayLike) -> NDArray[np.float64]:
    """Points [..., N, 2] taken by maps [..., 2, 3] (leading axes broadcast)."""
    points = np.asarray(points, np.float64)
    x, y = points[..., 0], points[..., 1]
    row = maps[..., None, :, :]
    return np.stack([row[..., i, 0] * x + row[..., i, 1] * y + row[..., i, 2] for i in (0, 1)], -1)
