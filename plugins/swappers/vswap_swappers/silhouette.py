"""What the masks say of the old subject's size and place, for frames in which its points say too little.

Points on one side of a subject fall together when it turns that side away: a map fitted to them is squashed, however
well it is fitted. The mask stays, so there the pose of the nearest frames is kept, at the mask's size and place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vswap_swappers.linear_fit import Array
from vswap_swappers.smoothing import bridge, smooth

_LOST, _KEPT = 0.4, 0.6  # share of its usual part of the mask that the points span: below, and from where they are used
_USUAL = 0.9  # quantile over time
_STEADY = 3.0  # frames


@dataclass(frozen=True, eq=False)
class Silhouette:
    """scale float64 [T]: how many video pixels a pixel of the cut-out would be, if its area were the mask's; centre
    float64 [T, 2], the mask's centroid. Both smooth in time, and bridged where a mask is empty."""

    scale: Array
    centre: Array

    @classmethod
    def of(cls, area: Array, centre: Array, opaque: float, sigma: float) -> Silhouette:
        """From the masks' areas [T] and centroids [T, 2] in pixels, and the cut-out's opaque area."""
        seen = area > 0
        trust, sigma = np.maximum(seen, 0.01), max(_STEADY, sigma)
        side = np.sqrt(np.where(seen, area, opaque) / opaque)
        place = np.where(seen[:, None], centre, 0.0)
        scale = smooth(bridge(side, seen), trust, sigma, degree=0)
        return cls(scale, smooth(bridge(place, seen), trust, sigma, degree=0))


def _extent(points: Array, weight: Array) -> Array:
    """Area that weighted points [T, N, 2] span in each frame: root of the determinant of their covariance, [T]."""
    total = np.maximum(weight.sum(1), 1e-12)
    centred = points - ((weight[..., None] * points).sum(1) / total[:, None])[:, None]
    covariance = np.einsum("tn,tni,tnj->tij", weight, centred, centred) / total[:, None, None]
    extent: Array = np.sqrt(np.maximum(np.linalg.det(covariance), 0.0))
    return extent


def turned_to_us(shape: Array, targets: Array, weight: Array, silhouette: Silhouette) -> Array:
    """How far the points of each frame can be used, [T] in 0..1: 0 where they span far less of the mask than usual.

    Args:
        shape: the points' own arrangement [N, 2].
        targets, weight: their places [T, N, 2] and weights [T, N].
    """
    own = _extent(np.broadcast_to(shape, targets.shape), weight)
    known = own > 1e-3 * max(float(own.max(initial=0.0)), 1e-12)
    span = np.where(known, _extent(targets, weight) / np.where(known, own, 1.0), 0.0) / silhouette.scale**2
    if not known.any():
        return np.ones(len(span))
    usual = max(float(np.quantile(span[known], _USUAL)), 1e-12)
    return np.where(known, np.clip((span / usual - _LOST) / (_KEPT - _LOST), 0.0, 1.0), 1.0)


def pose_from_silhouette(values: Array, offsets: Array, usable: Array, silhouette: Silhouette) -> tuple[Array, Array]:
    """Matrices [T, 2, 2] and places [T, 2], those of frames that aren't `usable` [T] drawn from the others.

    What is carried over is the pose relative to the mask's size and centroid.
    """
    kept = usable >= 1.0
    if kept.all() or not kept.any():
        return values, offsets
    scale, share = silhouette.scale[:, None, None], usable[:, None, None]
    posed = bridge(values / scale, kept) * scale
    placed = bridge((offsets - silhouette.centre) / scale[:, 0], kept) * scale[:, 0] + silhouette.centre
    return share * values + (1 - share) * posed, share[:, 0] * offsets + (1 - share[:, 0]) * placed
