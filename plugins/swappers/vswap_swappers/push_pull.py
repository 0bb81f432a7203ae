"""Spread known values smoothly over unknown ones with an image pyramid."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import FloatArray


def diffuse(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Fill an image from the places where it is known, smoothly (push-pull: Gortler et al. 1996, "The Lumigraph").

    Linear in the number of pixels, so that a membrane over a hole costs far less than solving Poisson's equation.

    Args:
        values: float32 [H, W, C].
        weight: float32 [H, W] in 0..1, how far each value is known; 0 where it isn't.

    Returns:
        float32 [H, W, C], close to `values` where the weight is 1; all zero where nothing is known at all.
    """
    return _pull(values * weight[..., None], weight)


def _pull(weighted: FloatArray, weight: FloatArray) -> FloatArray:
    """`weighted` are the values already times their weight."""
    height, width = weight.shape
    if min(height, width) <= 2 or not (weight < 1).any():
        return _mean_or_local(weighted, weight)
    coarse_weight: Any = cv2.pyrDown(weight)
    coarse = _channels(cv2.pyrDown(weighted), weighted.shape[2])
    # An unnormalised blur thins the weight out at the border of the known; 1 is "surely known" at the next level.
    gain = np.minimum(1.0, 4.0 * coarse_weight) / np.maximum(coarse_weight, 1e-12)
    filled = _pull(coarse * gain[..., None], coarse_weight * gain)
    up = _channels(cv2.pyrUp(filled, dstsize=(width, height)), weighted.shape[2])
    return weighted + (1.0 - weight[..., None]) * up


def _mean_or_local(weighted: FloatArray, weight: FloatArray) -> FloatArray:
    total = float(weight.sum())
    mean = weighted.sum(axis=(0, 1)) / total if total > 1e-12 else np.zeros(weighted.shape[2], np.float32)
    filled: FloatArray = (weighted + (1.0 - weight[..., None]) * mean).astype(np.float32)
    return filled


def _channels(image: NDArray[Any], count: int) -> FloatArray:
    """OpenCV drops the last axis of a one-channel image."""
    return image.reshape(*image.shape[:2], count)
