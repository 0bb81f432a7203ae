"""The edge of a mask: made wider by exact distance, then faded outwards."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import BoolArray, ByteArray

_FULL = 255


def grow_and_feather(subject: BoolArray, grow: int, feather: int) -> ByteArray:
    """Masks uint8 [n, H, W] of subject bool [n, H, W].

    255 within `grow` pixels of the subject (Euclidean, between pixel centres), then falling linearly to 0 over
    `feather` + 1 pixels more, so that the subject itself is never made transparent.
    """
    if grow == 0 and feather == 0:
        return subject.astype(np.uint8) * np.uint8(_FULL)
    return np.stack([_soft(mask, grow, feather) for mask in subject])


def _soft(subject: BoolArray, grow: int, feather: int) -> ByteArray:
    if not subject.any():
        return np.zeros(subject.shape, np.uint8)
    distance = cv2.distanceTransform((~subject).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if feather == 0:
        return np.asarray(np.where(np.asarray(distance) <= grow, _FULL, 0), np.uint8)
    strength = np.clip((grow + feather + 1 - np.asarray(distance)) / (feather + 1), 0.0, 1.0)
    return np.asarray(np.round(strength * _FULL), np.uint8)
