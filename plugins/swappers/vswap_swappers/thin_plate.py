"""A regularised thin-plate spline that fades out away from its anchors.

Source: Bookstein, "Principal Warps: Thin-Plate Splines and the Decomposition of Deformations" (TPAMI 1989); the
smoothing term is Wahba, "Spline Models for Observational Data" (1990), section 2.4. A plain thin-plate spline grows
without bound beyond its anchors; here a window takes it back to zero there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from vswap_swappers.linear_fit import Array

_REACH = 1.5  # of the anchors' root-mean-square radius: how far from an anchor its pull is felt


def _squared_distances(points: Array, anchors: Array) -> Array:
    """[N, G] from each anchor to each point: this way round, sums over the anchors run along memory."""
    apart: Array = (anchors[:, :1] - points[:, 0]) ** 2 + (anchors[:, 1:] - points[:, 1]) ** 2
    return apart


def _kernel(squared: Array) -> Array:
    value: Array = 0.5 * squared * np.log(np.maximum(squared, 1e-24))
    return value


def _affine_basis(points: Array) -> Array:
    return np.concatenate([np.ones((len(points), 1)), points], axis=1)


@dataclass(frozen=True, eq=False)
class ThinPlate:
    """The spline's linear operators for fixed anchors.

    anchors float64 [N, 2] in units of `radius` about `centre`; `solve` float64 [N + 3, N] turns displacements at the
    anchors into coefficients.
    """

    anchors: Array
    centre: Array
    radius: float
    solve: Array

    @classmethod
    def at(cls, anchors: Array, smoothing: float) -> Self:
        """A spline with these anchors [N, 2]; smoothing 0 passes through the displacements exactly."""
        count = len(anchors)
        centre = anchors.mean(0)
        radius = max(float(np.sqrt(((anchors - centre) ** 2).sum(1).mean())), 1e-6)
        unit = (anchors - centre) / radius
        basis = _affine_basis(unit)
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = _kernel(_squared_distances(unit, unit)) + smoothing * np.eye(count)
        system[:count, count:] = basis
        system[count:, :count] = basis.T
        right = np.eye(count + 3)[:, :count]
        return cls(unit, centre, radius, np.linalg.pinv(system, rcond=1e-10) @ right)

    def without_affine(self, displacement: Array) -> Array:
        """Displacements [..., N, 2] less the affine map that fits them best."""
        basis = _affine_basis(self.anchors)
        return displacement - (basis @ np.linalg.pinv(basis)) @ displacement

    def operator(self, points: Array) -> Array:
        """[G, N + 3] that turns coefficients [N + 3, 2] into displacements at points [G, 2]."""
        unit = (points - self.centre) / self.radius
        squared = _squared_distances(unit, self.anchors)
        window = 1.0 - np.prod(1.0 - np.exp(squared / -(_REACH**2)), axis=0)
        rows = np.concatenate([_kernel(squared), np.ones((1, len(unit))), unit.T])
        return np.asarray((rows * window).T)
