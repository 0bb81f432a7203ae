"""PSNR and SSIM within a region that differs from frame to frame."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_metrics.ratios import psnr, share, shares

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _luma(image: ByteArray) -> FloatArray:
    return cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY).astype(np.float32, copy=False)


def _blur(image: FloatArray) -> FloatArray:
    return cv2.GaussianBlur(image, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT_101).astype(
        np.float32, copy=False
    )


def ssim_map(first: ByteArray, second: ByteArray) -> FloatArray:
    """Structural similarity around each pixel, on luma (BT.601), in -1..1.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", eq. 13: Gaussian
    window 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03. Windows that reach over the frame's edge see a mirrored picture;
    `whole_windows` says which those are.

    Args:
        first, second: uint8 [H, W, 3] RGB.

    Returns:
        float32 [H, W]
    """
    # Variances don't change with an offset, and around zero float32 keeps more of their digits.
    x, y = _luma(first) - 128, _luma(second) - 128
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x * mean_x, _blur(y * y) - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    return (luminance * (2 * covariance + _C2) / (var_x + var_y + _C2)).astype(np.float32, copy=False)


def whole_windows(shape: tuple[int, int]) -> BoolArray:
    """Where the SSIM window lies within a frame of `shape` (height, width): bool [H, W]."""
    margin, inside = _WINDOW // 2, np.zeros(shape, np.bool_)
    inside[margin : shape[0] - margin, margin : shape[1] - margin] = True
    return inside


def windows_within(region: BoolArray) -> BoolArray:
    """Where the whole SSIM window lies within `region` bool [H, W] and within the frame: bool [H, W]."""
    window = np.ones((_WINDOW, _WINDOW), np.uint8)
    eroded = cv2.erode(region.astype(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return eroded.astype(np.bool_)


class RegionQuality:
    """PSNR and SSIM of a video's region, gathered frame by frame.

    The overall PSNR comes from the total squared error (a mean of decibels would let one perfect frame hide a bad one),
    the overall SSIM from all windows.
    """

    def __init__(self, frames: int) -> None:
        self._squared = np.zeros(frames)
        self._samples = np.zeros(frames, np.int64)
        self._changed = np.zeros(frames, np.int64)
        self._ssim = np.zeros(frames)
        self._windows = np.zeros(frames, np.int64)

    def add(self, frame: int, first: ByteArray, second: ByteArray, region: BoolArray, windows: BoolArray) -> None:
        """Count one frame.

        Args:
            frame: its index.
            first, second: uint8 [H, W, 3] RGB.
            region: bool [H, W], the pixels that count.
            windows: bool [H, W], the centres of the SSIM windows that count.
        """
        difference = cv2.absdiff(first, second)[region].astype(np.int64)
        self._squared[frame] = np.square(difference).sum()
        self._samples[frame] = difference.size
        self._changed[frame] = difference.any(axis=1).sum()
        self._windows[frame] = windows.sum()
        if self._windows[frame]:
            self._ssim[frame] = ssim_map(first, second)[windows].sum(dtype=np.float64)

    def psnr(self) -> float:
        """dB over all frames; NaN when no pixel counted."""
        return float(psnr(self._squared.sum(keepdims=True), self._samples.sum(keepdims=True))[0])

    def psnr_curve(self) -> FloatArray:
        """dB per frame, float32 [T]; NaN where no pixel counted."""
        return psnr(self._squared, self._samples).astype(np.float32)

    def ssim(self) -> float:
        """Over all windows; NaN when there was none."""
        return share(self._ssim.sum(), self._windows.sum())

    def ssim_curve(self) -> FloatArray:
        """Per frame, float32 [T]; NaN where there was no window."""
        return shares(self._ssim, self._windows)

    def changed(self) -> float:
        """Share of the pixels that differ at all; NaN when no pixel counted."""
        return share(self._changed.sum(), self._samples.sum() // 3)
