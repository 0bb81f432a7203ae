"""Thin-plate splines from one frame to every other, fitted to tracked points.

Bookstein, "Principal warps: thin-plate splines and the decomposition of deformations", TPAMI 1989; with tracks that are
not to be met exactly as in Wahba, "Spline models for observational data", 1990, section 2.4: the kernel is r^2 log r,
and the weight of its bending against the misfit is `stiffness`.

The affine part is fitted first, robustly (`plane_maps`), and the spline bends what that leaves. Its own affine part has
a weak prior around 0 instead of being free, so that the system is never singular: points on a line, or too few of them,
leave the map as `plane_maps` made it. Frames are solved together, N x N each.

A point is believed by Cauchy weights, in two ways, of which the better counts: as the robust affine fit believes it, or
by how far the spline of all *other* points misses it, which the inverse tells for free (leave-one-out: Wahba 1990,
section 4.2). The first keeps one bad track of five out; the second, where points are many, lets the plate bend far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vswap_canonical.plane_maps import PlaneMaps, fit_plane_maps
from vswap_canonical.turns import Complex, Real
from vswap_kernel.types import BoolArray

_AFFINE_VARIANCE = 1e5  # of the spline's own affine part, in spreads: nearly free
_SMALLEST = 1e-6  # weight, stiffness
_ROUNDS = 2  # more of them trust many points less: what bends looks bad while it isn't followed


@dataclass(frozen=True, eq=False)
class Splines:
    """Maps of T frames: `base`, an affine map, plus a spline with N `knots` (complex128 [N], in spreads around the
    centre of `base`) and `weights` complex128 [T, N] of their kernels."""

    base: PlaneMaps
    knots: Complex
    weights: Complex

    @property
    def known(self) -> BoolArray:
        """bool [T], the frames that show enough of the points."""
        return self.base.known

    def at(self, places: Complex) -> Complex:
        """Places [M] of the reference frame in every frame: [T, M]."""
        z = (places - self.base.centre) / self.base.spread
        return self.base.at(places) + self.base.spread * self.weights @ _kernel(self.knots, z)

    def jacobian(self, places: Complex, offset: Complex) -> Complex:
        """What the map's linear part at places [M] makes of offsets [M]: [T, M]."""
        z = (places - self.base.centre) / self.base.spread
        return self.base.jacobian(places, offset) + self.weights @ _slope(self.knots, z, offset)


def fit_splines(
    places: Complex, visible: BoolArray, frame: int, *, noise: float, stiffness: float, mirror: bool = True
) -> Splines:
    """The spline of every frame from `frame`.

    Args:
        places: [T, N] pixels.
        visible: [T, N]; a frame's fit rests on the points that are visible both there and in `frame`.
        frame: the reference.
        noise: how far tracks are off, in pixels.
        stiffness: weight of the bending; 0 meets every point that isn't a bad track.
        mirror: whether a frame may show a mirror image (see `fit_turns`).
    """
    base = fit_plane_maps(places, visible, frame, noise=noise, perspective=False, mirror=mirror)
    shared = visible & visible[frame] & base.known[:, None]
    knots = (places[frame] - base.centre) / base.spread
    left = np.where(shared, places - base.at(places[frame]), 0) / base.spread
    kernel = np.where(shared[:, :, None] & shared[:, None], _kernel(knots, knots), 0)
    weights = shared.astype(np.float64)
    for _ in range(_ROUNDS):
        soft = np.where(shared, (stiffness + _SMALLEST) / np.maximum(weights, _SMALLEST), 1.0)
        inverse = np.linalg.inv(kernel + soft[..., None] * np.eye(len(knots)))
        kernels = (inverse @ left[..., None])[..., 0]
        missed = np.abs(kernels) / np.diagonal(inverse, axis1=1, axis2=2) * base.spread / noise
        weights = np.maximum(base.weights, shared / (1 + missed**2))
    return Splines(base, knots, np.asarray(kernels))


def _kernel(knots: Complex, z: Complex) -> Real:
    """r^2 log r, and that of an affine map with a prior: float64 [N, M]."""
    square = np.abs(knots[:, None] - z) ** 2
    bend = 0.5 * square * np.log(np.maximum(square, 1e-300))
    return np.asarray(bend + _AFFINE_VARIANCE * (1 + (knots.conj()[:, None] * z).real))


def _slope(knots: Complex, z: Complex, offset: Complex) -> Real:
    """The derivative of `_kernel` at z [M] along offset [M]: float64 [N, M]."""
    apart = z - knots[:, None]
    square = np.abs(apart) ** 2
    along = (apart.conj() * offset).real
    bend = along * (np.log(np.maximum(square, 1e-300)) + 1)
    return np.asarray(bend + _AFFINE_VARIANCE * (knots.conj()[:, None] * offset).real)
