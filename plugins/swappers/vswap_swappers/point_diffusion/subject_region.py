"""The region of a result that may differ from its source, and the source's own pixels around it."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import BoolArray, ByteArray

_FULL = 255


def softened(inside: BoolArray, feather: int) -> ByteArray:
    """Alpha uint8 [n, H, W] of a region bool [n, H, W]: 255 in it, fading to 0 over `feather` pixels outside."""
    if feather == 0:
        return inside.astype(np.uint8) * np.uint8(_FULL)
    return np.stack([_faded(frame, feather) for frame in inside])


def _faded(inside: BoolArray, feather: int) -> ByteArray:
    if not inside.any():
        return np.zeros(inside.shape, np.uint8)
    distance = np.asarray(cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    strength = np.clip((feather + 1 - distance) / (feather + 1), 0, 1)
    return np.asarray(np.round(strength * _FULL), np.uint8)


def composited(source: ByteArray, result: ByteArray, alpha: ByteArray) -> ByteArray:
    """`result` [n, H, W, 3] where alpha [n, H, W] is 255, `source` where it is 0, bit by bit; mixed between."""
    share = alpha[..., None].astype(np.float32) / _FULL
    mixed = source + share * (result.astype(np.float32) - source)
    return np.asarray(np.rint(mixed), np.uint8)
