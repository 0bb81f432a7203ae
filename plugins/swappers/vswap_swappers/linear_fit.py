"""Weighted least-squares fits of linear maps between point sets, for all frames at once.

A map is written as the matrix ``[[a + c, d - b], [d + b, a - c]]`` and a translation: (a, b) is its similarity part
(scale and rotation), (c, d) what makes it affine (stretch and shear). Penalising (c, d) alone leads smoothly from an
affine map to a similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MOST_STRETCH = 0.5  # of the similarity part: the longer axis is at most (1 + 0.5) / (1 - 0.5) = 3 times the shorter
_RIDGE = 1e-7


@dataclass(frozen=True, eq=False)
class LinearFit:
    """matrix float64 [T, 2, 2]; origin and image float64 [T, 2]: x -> matrix (x - origin) + image; spread [T], the
    weighted sum of squared distances of the source points from their centroid: 0 where the matrix is undetermined."""

    matrix: Array
    origin: Array
    image: Array
    spread: Array

    def __call__(self, points: Array) -> Array:
        """Map points [N, 2] or [T, N, 2] in every frame: [T, N, 2]."""
        return (points - self.origin[:, None]) @ self.matrix.swapaxes(1, 2) + self.image[:, None]

    def inverse(self, points: Array) -> Array:
        """Map points [T, N, 2] back; points of frames whose map is singular come back as NaN."""
        determinant = np.linalg.det(self.matrix)
        singular = np.abs(determinant) < 1e-12
        safe = np.where(singular[:, None, None], np.eye(2), self.matrix)
        back = (points - self.image[:, None]) @ np.linalg.inv(safe).swapaxes(1, 2) + self.origin[:, None]
        return np.where(singular[:, None, None], np.nan, back)


def _parameters(source: Array, target: Array, weight: Array, penalty: float) -> Array:
    """(a, b, c, d) [T, 4] that map centred source points to centred targets."""
    x, y = source[..., 0], source[..., 1]
    across = np.stack([x, -y, x, y], axis=-1)
    down = np.stack([y, x, -y, x], axis=-1)
    design = np.stack([across, down], axis=-2)
    weighted = design * weight[..., None, None]
    normal = np.einsum("tnki,tnkj->tij", weighted, design)
    right = np.einsum("tnki,tnk->ti", weighted, target)
    energy = np.maximum(normal[:, 0, 0], 1e-12)
    if np.isinf(penalty):
        normal[:, 2:, :] = normal[:, :, 2:] = 0.0
        right[:, 2:] = 0.0
    stiff = min(penalty, 1.0) if np.isinf(penalty) else penalty
    diagonal = np.array([_RIDGE, _RIDGE, stiff + 10 * _RIDGE, stiff + 10 * _RIDGE])
    normal += energy[:, None, None] * np.diag(diagonal)
    return np.linalg.solve(normal, right[..., None])[..., 0]


def fit_linear(source: Array, target: Array, weight: Array, penalty: float) -> LinearFit:
    """Fit one linear map per frame from source points to target points.

    Args:
        source: [N, 2] or [T, N, 2].
        target: [T, N, 2].
        weight: [T, N], 0 and up; a frame without any weight gets a zero matrix.
        penalty: on the affine part, relative to the spread of the points: 0 affine, infinity a similarity.
    """
    source = np.broadcast_to(source, target.shape)
    total = np.maximum(weight.sum(1), 1e-12)[:, None]
    origin = (weight[..., None] * source).sum(1) / total
    image = (weight[..., None] * target).sum(1) / total
    centred = source - origin[:, None]
    a, b, c, d = _parameters(centred, target - image[:, None], weight, penalty).T
    room = np.hypot(a, b) * _MOST_STRETCH / np.maximum(np.hypot(c, d), 1e-12)
    c, d = c * np.minimum(room, 1.0), d * np.minimum(room, 1.0)
    matrix = np.stack([np.stack([a + c, d - b], -1), np.stack([d + b, a - c], -1)], -2)
    spread = (weight * (centred**2).sum(-1)).sum(1)
    return LinearFit(matrix, origin, image, spread)
