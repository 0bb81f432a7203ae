"""Smoothing and gap filling along time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_swappers.linear_fit import Array

_WINDOW = 3  # standard deviations to each side


def bridge(values: Array, known: NDArray[np.bool_]) -> Array:
    """Values [T, ...] with those of unknown frames drawn as straight lines between the known ones, and held flat before
    the first and after the last; unchanged when no frame is known."""
    if not known.any():
        return values
    frame = np.arange(len(values))
    before = np.maximum.accumulate(np.where(known, frame, -1))
    after = np.minimum.accumulate(np.where(known, frame, len(values))[::-1])[::-1]
    before = np.where(before < 0, after, before)
    after = np.where(after >= len(values), before, after)
    share = (frame - before) / np.maximum(after - before, 1)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    filled: Array = values[before] * (1 - share) + values[after] * share
    return filled


def smooth(values: Array, weight: Array, sigma: float, degree: int = 2) -> Array:
    """Fit a polynomial over time around each frame, weighted by a Gaussian and by `weight`, and take its value there.

    A local fit of degree 2 keeps velocity and acceleration, so that motion isn't lagged or flattened (Savitzky and
    Golay, "Smoothing and Differentiation of Data by Simplified Least Squares Procedures", 1964; with weights: Cleveland
    1979).

    Args:
        values: [T, ...], finite.
        weight: [T], 0 to 1, how far each frame's value is to be trusted.
        sigma: of the Gaussian, in frames; 0 returns the values as they are.
    """
    if sigma <= 0 or len(values) < 3:
        return values
    reach = max(2, int(np.ceil(_WINDOW * sigma)))
    flat = values.reshape(len(values), -1)
    padded = np.pad(flat, ((reach, reach), (0, 0)))
    trust = np.pad(np.maximum(weight, 1e-3), reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    offset = np.arange(-reach, reach + 1) / max(sigma, 1.0)
    weights = np.lib.stride_tricks.sliding_window_view(trust, 2 * reach + 1)
    weights = weights * np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    basis = offset[:, None] ** np.arange(degree + 1)
    normal = np.einsum("tk,ki,kj->tij", weights, basis, basis)
    normal += np.diag([0.0, *[1e-9] * degree]) * normal[:, :1, :1]
    right = np.einsum("tk,ki,tpk->tip", weights, basis, windows, optimize=True)
    return np.linalg.solve(normal, right)[:, 0].reshape(values.shape)
