"""How sums over frames become the figures that are reported: NaN where nothing was counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import FloatArray

PSNR_CAP = 100.0
"""dB that stand for "no difference" (and for one too small to matter): JSON has no infinity."""


def psnr(squared_error: NDArray[np.float64], samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of 8-bit samples in dB, at most `PSNR_CAP`; NaN where there are no samples.

    Args:
        squared_error: the sum of squared differences, any shape.
        samples: how many differences were summed, same shape.
    """
    mean = np.divide(squared_error, samples, out=np.full(squared_error.shape, np.nan), where=samples > 0)
    floor = 255.0**2 / 10 ** (PSNR_CAP / 10)
    decibel: NDArray[np.float64] = 10 * np.log10(255.0**2 / np.maximum(mean, floor))
    return decibel


def share(part: float, whole: float) -> float:
    """part / whole; NaN for a whole of nothing."""
    return float(part) / float(whole) if whole else float("nan")


def shares(part: NDArray[Any], whole: NDArray[np.int64]) -> FloatArray:
    """part / whole, both [T], per frame: float32 [T]; NaN for a whole of nothing."""
    quotient: FloatArray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0).astype(np.float32)
    return quotient
