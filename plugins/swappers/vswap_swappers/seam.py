"""Put one picture into another so that no seam shows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from vswap_kernel.types import BoolArray, FloatArray
from vswap_swappers.push_pull import diffuse

_WIDTH = 3  # pixels outside the fill whose colours it has to meet
_LARGEST_STEP = 40.0  # grey levels: more than that at the seam isn't exposure
_KEEP = 0.001  # how firmly the fill keeps its own colours away from the seam


def join(target: FloatArray, fill: FloatArray, where: BoolArray, known: BoolArray) -> FloatArray:
    """Put `fill` into `target` so that no seam shows: the difference at the border is faded out into the fill.

    Args:
        target: float32 [h, w, 3].
        fill: float32 [h, w, 3].
        where: bool [h, w], what is replaced.
        known: bool [h, w], where both pictures are right and may be compared.

    Returns:
        float32 [h, w, 3], `target` where `where` is False.
    """
    size = 2 * _WIDTH + 1
    near: Any = cv2.dilate(where.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    border = near & known
    if not border.any():
        return np.where(where[..., None], fill, target)
    difference = np.clip(target - fill, -_LARGEST_STEP, _LARGEST_STEP) * border[..., None]
    correction = diffuse(difference, np.where(border, 1.0, np.where(where, _KEEP, 0.0)).astype(np.float32))
    return np.where(where[..., None], fill + correction, target)
