"""The motion that carries a cut-out: from its own pixels to those of every frame, and back.

A point c of the cut-out is at ``linear_t(c + bend_t(c))`` in frame t: a linear map (a similarity, or an affine map
drawn towards one) after a thin-plate bend. The bend is limited so that the map can't fold over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import PointTracks
from vswap_swappers.linear_fit import Array, fit_linear
from vswap_swappers.register import WarpOptions
from vswap_swappers.silhouette import Silhouette, pose_from_silhouette, turned_to_us
from vswap_swappers.smoothing import bridge, smooth
from vswap_swappers.source_shape import confidence_of, source_shape
from vswap_swappers.thin_plate import ThinPlate

_STEEPEST = 0.55  # largest derivative of a bend; below 1 it can't fold over, and the inverse's iteration contracts
_INVERSE_STEPS = 12
_SMALLEST = 1e-3  # video pixels per cut-out pixel: below this the points have fallen together
_LEAST_TRUST = 0.05
_SLOW = 3.0  # the bend may change this much more slowly than the linear map


@dataclass(frozen=True, eq=False)
class Motion:
    """linear float64 [T, 2, 3] from (bent) cut-out pixels to video pixels; coefficients float64 [T, N + 3, 2] of the
    bend in cut-out pixels."""

    linear: Array
    plate: ThinPlate
    coefficients: Array

    def forward(self, frame: int, points: Array) -> Array:
        """Where points [G, 2] of the cut-out are in a frame."""
        bent = points + self.plate.operator(points) @ self.coefficients[frame]
        placed: Array = bent @ self.linear[frame, :, :2].T + self.linear[frame, :, 2]
        return placed

    def inverse(self, frame: int, points: Array) -> Array:
        """Which points of the cut-out are at points [G, 2] of a frame, to about 0.01 pixel."""
        matrix = np.linalg.inv(self.linear[frame, :, :2])
        straight = (points - self.linear[frame, :, 2]) @ matrix.T
        found = straight
        if not self.coefficients[frame].any():
            return found
        for _ in range(_INVERSE_STEPS):
            found = straight - self.plate.operator(found) @ self.coefficients[frame]
        return found

    def scale(self) -> Array:
        """Video pixels per cut-out pixel, [T]: root of the linear map's determinant."""
        factor: Array = np.sqrt(np.abs(np.linalg.det(self.linear[:, :, :2])))
        return factor


def _linear_maps(
    shape: Array, targets: Array, weight: Array, penalty: float, silhouette: Silhouette, sigma: float
) -> Array:
    """[T, 2, 3]: fitted where enough points are seen, helped by the masks where they are seen edge-on, bridged where
    they are hidden, and smooth over time."""
    fit = fit_linear(shape, targets, weight, penalty)
    usual = float(np.median(fit.spread[fit.spread > 0])) if (fit.spread > 0).any() else 0.0
    size = float(((shape - shape.mean(0)) ** 2).sum())
    trust = np.minimum(fit.spread / max(usual, 1e-12), 1.0) if usual > 1e-9 * max(size, 1.0) else 0 * fit.spread
    matrix, middle = fit.matrix, shape.mean(0)
    trust = np.where(np.linalg.det(matrix) > _SMALLEST**2, trust, 0.0)
    offset = fit.image + np.einsum("tij,tj->ti", matrix, middle - fit.origin)
    if (trust > _LEAST_TRUST).any():
        usable = np.where(trust > _LEAST_TRUST, turned_to_us(shape, targets, weight, silhouette), 1.0)
        matrix, offset = pose_from_silhouette(matrix, offset, usable, silhouette)
        matrix = smooth(bridge(matrix, trust > _LEAST_TRUST), trust, sigma)
    else:
        matrix = smooth(silhouette.scale[:, None, None] * np.eye(2), np.ones(len(matrix)), sigma)
        offset = fit.image + np.einsum("tij,tj->ti", matrix, middle - fit.origin)
    seen = np.minimum(weight.sum(1), 1.0)
    offset = smooth(bridge(offset, seen > _LEAST_TRUST), seen, sigma)
    shift = offset - np.einsum("tij,j->ti", matrix, middle)
    return np.concatenate([matrix, shift[..., None]], axis=2)


def no_fold(plate: ThinPlate, coefficients: Array, extent: Array, sigma: float) -> Array:
    """The bend's coefficients [T, N + 3, 2], made smaller around frames where it is too steep anywhere in `extent`.

    Args:
        plate: of the N points.
        coefficients: see `Motion`.
        extent: (x0, y0, x1, y1) in cut-out pixels.
        sigma: over how many frames the change is spread.
    """
    across, down = (np.linspace(extent[i], extent[i + 2], 25) for i in (0, 1))
    points = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)
    step = 0.01 * plate.radius
    steepest = np.zeros(len(coefficients))
    for axis in np.eye(2):
        slope = (plate.operator(points + step * axis) - plate.operator(points - step * axis)) / (2 * step)
        for start in range(0, len(coefficients), 256):
            block = np.einsum("gk,tkj->tgj", slope, coefficients[start : start + 256], optimize=True)
            steepest[start : start + 256] += (block**2).sum(-1).max(1)
    gain = np.minimum(1.0, _STEEPEST / np.maximum(np.sqrt(steepest), 1e-12))
    reach = int(np.ceil(_SLOW * sigma))
    lowest = np.lib.stride_tricks.sliding_window_view(np.pad(gain, reach, mode="edge"), 2 * reach + 1).min(1)
    gain = np.minimum(smooth(lowest, np.ones(len(gain)), sigma, degree=0), gain)
    return coefficients * gain[:, None, None]


def estimate_motion(
    points: Array,
    extent: Array,
    tracks: PointTracks,
    targets: PointTracks,
    silhouette: Silhouette,
    options: WarpOptions,
) -> Motion:
    """Fit the motion of a cut-out to the points of a video.

    Args:
        points: the cut-out's points [N, 2], in the order of the tracks.
        extent: (x0, y0, x1, y1) of what is opaque in it.
        tracks, targets: the points' places in the source, and where they are asked to be; the same names as `points`.
        silhouette: what the masks tell where the points can't: a single one, or points seen edge-on.
        options: model, stiffness, shape and smoothing count.
    """
    plate_like = options.model == "thin-plate"
    rigid = np.inf if options.model == "similarity" else 0.0
    penalty = options.stiffness if plate_like else rigid
    shape, robust = source_shape(points, tracks, np.inf if plate_like else rigid)
    weight = confidence_of(targets) * robust
    asked = targets.xy.astype(np.float64)
    linear = _linear_maps(shape, asked, weight, penalty, silhouette, options.smoothing)
    plate = ThinPlate.at(points, 0.2 * options.stiffness)
    if not plate_like:
        return Motion(linear, plate, np.zeros((len(linear), len(points) + 3, 2)))
    matrix = np.linalg.inv(linear[:, :, :2])
    back = (asked - linear[:, None, :, 2]) @ matrix.swapaxes(1, 2)
    seen = np.where(weight[..., None] > 0, back - shape, 0.0)
    moved = smooth_points(plate.without_affine(seen), weight, options.smoothing)
    bend = options.shape * (shape - points) + moved
    coefficients = np.einsum("kn,tnj->tkj", plate.solve, bend)
    return Motion(linear, plate, no_fold(plate, coefficients, extent, max(options.smoothing, 1.0)))


def smooth_points(displacement: Array, weight: Array, sigma: float) -> Array:
    """Displacements [T, N, 2] averaged over time by their weights [T, N]; they fade to zero where a point is hidden."""
    if sigma <= 0:
        return displacement * np.minimum(weight, 1.0)[..., None]
    ones = np.ones(len(displacement))
    total = smooth(weight, ones, sigma, degree=0)
    mean = smooth(displacement * weight[..., None], ones, sigma, degree=0)
    return mean / np.maximum(total, 0.05)[..., None]
