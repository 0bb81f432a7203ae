"""The source subject's own arrangement of the points, in the cut-out's pixels.

Old and new subject differ in proportions. If each frame were fitted to the cut-out's points directly, every point that
goes into hiding would shift the fit by its share of that difference. So the arrangement of the source's points is found
first, over all frames, and the frames are fitted to it.
"""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import PointTracks
from vswap_swappers.linear_fit import Array, fit_linear

_ROUNDS = 5
_HARDLY = 1e-7
_WELL_SEEN = 0.7  # of the best frame's weight: with fewer points any arrangement seems to fit
_MIRROR_GAIN = 0.8  # a mirrored fit has to leave less than this share of the misfit


def confidence_of(tracks: PointTracks) -> Array:
    """Weights [T, N]: the confidence of what is visible, at least 0.05; 0 for what is hidden."""
    return np.where(tracks.visible, np.maximum(tracks.confidence, 0.05), 0.0).astype(np.float64)


def _mean_shape(points: Array, back: Array, weight: Array) -> Array:
    known = np.isfinite(back).all(-1) & (weight > 0)
    total = np.where(known, weight, 0.0)
    summed = (np.where(known, weight, 0.0)[..., None] * np.nan_to_num(back)).sum(0)
    count = total.sum(0)[:, None]
    return np.where(count > _HARDLY, summed / np.maximum(count, _HARDLY), points)


def source_shape(points: Array, tracks: PointTracks, penalty: float) -> tuple[Array, Array]:
    """Generalised Procrustes analysis with missing points (Gower 1975; missing data: ten Berge et al. 1993).

    Args:
        points: the cut-out's points [N, 2].
        tracks: the source's points, in the same order.
        penalty: of the maps, see `fit_linear`.

    Returns:
        (shape [N, 2]: the source's points in cut-out pixels, laid over the cut-out's by a similarity;
        robust [T, N]: factors in 0..1 that take weight from points which move unlike the others).
    """
    weight = confidence_of(tracks)
    seen = tracks.xy.astype(np.float64)
    shape, robust = points, np.ones_like(weight)
    if len(points) < 3:
        return points, robust
    alike = _alike(points, seen, weight)
    for _ in range(_ROUNDS):
        fit = fit_linear(shape, seen, weight * robust, penalty)
        informative = fit.spread > 0.05 * np.median(fit.spread)
        back = np.where(informative[:, None, None], fit.inverse(seen), np.nan)
        shape = _mean_shape(shape, back, weight * robust * alike)
        share = (weight * robust * alike).sum(0)[None]
        shape = fit_linear(shape, points[None], share, penalty)(shape)[0]
        if len(points) > 3:
            robust = _robust_weights(np.linalg.norm(back - shape, axis=-1), weight)
    return shape, robust


def _alike(points: Array, seen: Array, weight: Array) -> Array:
    """Factors [T, 1]: large for the frames whose points lie most as the cut-out's do.

    A subject that turns has another arrangement in each view; the one wanted is that of the cut-out's own view.
    """
    fit = fit_linear(points, seen, weight, np.inf)
    scale = np.maximum(np.linalg.norm(fit.matrix, axis=(1, 2)), 1e-9)
    off = np.sqrt((weight * ((fit(points) - seen) ** 2).sum(-1)).sum(1) / np.maximum(weight.sum(1), 1e-9)) / scale
    share = weight.sum(1) / max(float(weight.sum(1).max()), 1e-9)
    off = np.where(share > _WELL_SEEN, off, np.inf)
    floor = float(off.min()) + 0.01 * float(np.ptp(points, axis=0).max())
    return ((floor / (off + floor)) ** 4 + 1e-6)[:, None]


def _robust_weights(residual: Array, weight: Array) -> Array:
    """Cauchy weights; the scale is the clip's median residual, so that a few wild tracks don't set it."""
    valid = np.isfinite(residual) & (weight > 0)
    if not valid.any():
        return np.ones_like(weight)
    scale = 4.0 * np.median(residual[valid]) + 1e-9
    robust = 1.0 / (1.0 + (np.nan_to_num(residual) / scale) ** 2)
    return np.where(valid, robust, 1.0)


def fits_better_mirrored(points: Array, mirrored: Array, tracks: PointTracks) -> bool:
    """Whether the mirrored points fit the tracks clearly better, summed over all frames (similarity fits)."""
    weight = confidence_of(tracks)
    seen = tracks.xy.astype(np.float64)

    def misfit(candidate: Array) -> float:
        fit = fit_linear(candidate, seen, weight, np.inf)
        return float((weight * ((fit(candidate) - seen) ** 2).sum(-1)).sum())

    return len(points) > 2 and misfit(mirrored) < _MIRROR_GAIN * misfit(points)
