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


def changed(before: ByteArray, after: ByteArray, tolerance: int) -> ByteArray:
    """Alpha uint8 [n, H, W]: 0 where two videos [n, H, W, 3] are alike, 255 where they are `tolerance` levels apart.

    Differences are averaged over 3x3 pixels, for a decoder's texture isn't a subject. They count from half the
    tolerance on.
    """
    alphas = []
    for one, other in zip(before, after, strict=True):
        distance = np.abs(cv2.blur(other.astype(np.float32) - one, (3, 3))).max(2)
        alphas.append(np.clip(2 * distance / tolerance - 1, 0, 1))
    return np.asarray(np.rint(np.stack(alphas) * _FULL), np.uint8)


def composited(source: ByteArray, result: ByteArray, alpha: ByteArray) -> ByteArray:
    """`result` [n, H, W, 3] where alpha [n, H, W] is 255, `source` where it is 0, bit by bit; mixed between."""
    share = alpha[..., None].astype(np.float32) / _FULL
    mixed = source + share * (result.astype(np.float32) - source)
    return np.asarray(np.rint(mixed), np.uint8)
