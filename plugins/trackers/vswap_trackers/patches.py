"""How points look: patches around them, made upright, compared by normalised cross-correlation.

A patch is sampled on a square grid that turns and grows with the subject, so that it can be compared over time. All
functions take N points at once. Patches are float32 [N, P*P], zero mean and unit length (all zero where flat), so that
the correlation of two of them is their dot product.
"""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import ByteArray, FloatArray

_ALIGN_ROUNDS = 4
_FLAT = 2.0
"""Grey levels (standard deviation) below which a patch says nothing."""


def grid(side: int) -> FloatArray:
    """Offsets (x, y) of a square of side * side cells around 0, rows first: float32 [side * side, 2]."""
    steps = np.arange(side, dtype=np.float32) - (side - 1) / 2
    across, down = np.meshgrid(steps, steps)
    return np.stack([across.ravel(), down.ravel()], axis=1)


def sample(grey: ByteArray, xy: FloatArray, linear: FloatArray, offsets: FloatArray) -> FloatArray:
    """Grey values float32 [N, K] at xy [N, 2] + linear [N, 2, 2] @ offsets [K, 2]; the border is repeated outwards."""
    if not len(xy):
        return np.zeros((0, len(offsets)), np.float32)
    places = xy[:, None] + offsets @ linear.transpose(0, 2, 1)
    places = np.clip(places, -(2.0**14), 2.0**14).astype(np.float32)
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    values = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32)


def normalise(values: FloatArray) -> FloatArray:
    """Grey values [N, K] as patches: less their mean, at unit length; flat ones become all zero."""
    centred = values - values.mean(axis=1, keepdims=True)
    flat = np.sqrt(np.einsum("nk,nk->n", centred, centred)) <= _FLAT * np.sqrt(values.shape[1])
    return unit_length(np.where(flat[:, None], np.float32(0.0), centred))


def unit_length(patches: FloatArray) -> FloatArray:
    """Patches [N, K] at unit length; those that are all zero stay so."""
    length = np.linalg.norm(patches, axis=1, keepdims=True)
    return np.asarray(patches / np.maximum(length, 1e-6), np.float32)


def correlation(first: FloatArray, second: FloatArray) -> FloatArray:
    """Normalised cross-correlation float32 [N] of normalised patches [N, K], in -1..1."""
    return np.asarray(np.clip(np.einsum("nk,nk->n", first, second), -1.0, 1.0), np.float32)


def align(grey: ByteArray, patch: FloatArray, xy: FloatArray, linear: FloatArray) -> FloatArray:
    """Where near xy [N, 2] each normalised patch [N, P*P] fits best: float32 [N, 2].

    Inverse-compositional Lucas-Kanade for a shift (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004, section
    3.2.1): gradients and Hessian are those of the patch, computed once.
    """
    side = round(patch.shape[1] ** 0.5)
    offsets = grid(side)
    upright = patch.reshape(len(patch), side, side)
    down, across = (np.asarray(np.gradient(upright, axis=axis)) for axis in (1, 2))
    slope = np.stack([across.reshape(patch.shape), down.reshape(patch.shape)], axis=2)
    hessian = np.einsum("nki,nkj->nij", slope, slope)
    hessian += np.eye(2, dtype=np.float32) * (0.01 * np.trace(hessian, axis1=1, axis2=2) + 1e-6)[:, None, None]
    descent = slope @ np.linalg.inv(hessian)
    place = xy
    for _ in range(_ALIGN_ROUNDS):
        error = normalise(sample(grey, place, linear, offsets)) - patch
        step = np.einsum("nk,nki->ni", error, descent)
        place = place - np.einsum("nij,nj->ni", linear, np.clip(step, -2.0, 2.0))
    return place.astype(np.float32)


def search(
    grey: ByteArray, patch: FloatArray, xy: FloatArray, linear: FloatArray, radius: int
) -> tuple[FloatArray, FloatArray]:
    """The place within `radius` pixels of xy [N, 2] that looks most like each patch [N, P*P].

    Returns:
        places float32 [N, 2] at whole pixels of the upright grid, and their correlation float32 [N].
    """
    side, reach = round(patch.shape[1] ** 0.5), 2 * radius + 1
    width = side + 2 * radius
    area = sample(grey, xy, linear, grid(width)).reshape(-1, width, width)
    area = area - area.mean(axis=(1, 2), keepdims=True)
    spectrum = np.fft.rfft2(area) * np.fft.rfft2(patch.reshape(-1, side, side), s=(width, width)).conj()
    match = np.fft.irfft2(spectrum, s=(width, width))[:, :reach, :reach]
    mean, square = _box_sum(area, side) / side**2, _box_sum(area**2, side)
    length = np.sqrt(np.maximum(square - side**2 * mean**2, 0.0))
    score = np.where(length > _FLAT * side, match / np.maximum(length, 1e-6), -1.0).reshape(len(xy), reach**2)
    best = score.argmax(axis=1)
    value = np.take_along_axis(score, best[:, None], axis=1)[:, 0]
    return (
        (xy + np.einsum("nij,nj->ni", linear, grid(reach)[best])).astype(np.float32),
        np.clip(value, -1.0, 1.0).astype(np.float32),
    )


def _box_sum(area: FloatArray, side: int) -> FloatArray:
    """Sums over all side * side squares of area [N, W, W]: [N, W - side + 1, W - side + 1]."""
    total = np.pad(area.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    sums = total[:, side:, side:] - total[:, :-side, side:] - total[:, side:, :-side] + total[:, :-side, :-side]
    return np.asarray(sums)
