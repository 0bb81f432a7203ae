"""A cut-out at every size that it is needed in, ready to be sampled without aliasing, and its place in a frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import ByteArray, FloatArray
from vswap_swappers.carry import Motion
from vswap_swappers.linear_fit import Array

_STEP = 8  # pixels between the nodes at which the map is computed; between them it is interpolated
_LEVELS_PER_OCTAVE = 4


def opaque_extent(rgba: ByteArray) -> Array:
    """(x0, y0, x1, y1), float64, of the pixels that aren't transparent, both ends included; all where none is."""
    rows, columns = (np.flatnonzero(rgba[..., 3].any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.array([0, 0, rgba.shape[1] - 1, rgba.shape[0] - 1], np.float64)
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float64)


@dataclass(frozen=True, eq=False)
class Level:
    """image float32 [h, w, 4], premultiplied, 0..255; a cut-out point c is at pixel c * factor + shift."""

    image: FloatArray
    factor: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Layer:
    """What is to be laid over a frame at rows and columns: premultiplied float32 [h, w, 4], 0..255."""

    rows: slice
    columns: slice
    image: FloatArray


def _softened(image: FloatArray, feather: float) -> FloatArray:
    """Blur the alpha, and carry the subject's own colours out under its soft edge."""
    alpha = image[..., 3:]
    sigma = 0.5 * feather
    blurred = cv2.GaussianBlur(image, (0, 0), sigma)
    outside = blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-3)
    colour = np.where(alpha > 1, image[..., :3] / np.maximum(alpha, 1e-3), outside)
    return np.concatenate([colour * blurred[..., 3:], blurred[..., 3:]], axis=2).astype(np.float32)


class CutoutPyramid:
    """Levels a quarter of an octave apart, area-averaged, made when first asked for."""

    def __init__(self, rgba: ByteArray, largest: float, feather: float) -> None:
        """rgba uint8 [H, W, 4], straight alpha; largest: the largest scale that will be asked for; feather in pixels of
        the video."""
        self.extent = opaque_extent(rgba)
        x0, y0, x1, y1 = self.extent.astype(int)
        crop = rgba[y0 : y1 + 1, x0 : x1 + 1].astype(np.float32)
        crop[..., :3] *= crop[..., 3:] / 255.0
        self._base, self._largest, self._feather = crop, min(largest, 1.0), feather
        self._levels: dict[int, Level] = {}

    def level(self, scale: float) -> Level:
        """The smallest level that has at least `scale` pixels per cut-out pixel, or else the largest."""
        octaves = np.log2(max(self._largest / max(scale, 1e-6), 1.0))
        index = int(octaves * _LEVELS_PER_OCTAVE)
        if index not in self._levels:
            self._levels[index] = self._make(self._largest * 2.0 ** (-index / _LEVELS_PER_OCTAVE))
        return self._levels[index]

    def _make(self, scale: float) -> Level:
        height, width = self._base.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        scaled = cv2.resize(self._base, size, interpolation=cv2.INTER_AREA)
        border = 2 + int(np.ceil(2 * self._feather))
        padded = cv2.copyMakeBorder(scaled, border, border, border, border, cv2.BORDER_CONSTANT, value=0)
        image = np.asarray(padded, np.float32)
        if self._feather > 0:
            image = _softened(image, self._feather)
        factor = np.array(size) / (width, height)
        return Level(image, factor, (0.5 - self.extent[:2]) * factor - 0.5 + border)

    def layer(self, motion: Motion, frame: int, size: tuple[int, int]) -> Layer | None:
        """The cut-out as it lies in a frame of `size` (width, height); None when it is outside."""
        low, high = _bounds(motion, frame, self.extent, size, 2 + 2 * self._feather)
        if (high <= low).any():
            return None
        level = self.level(float(motion.scale()[frame]))
        position = dense_inverse(motion, frame, low, high) * level.factor + level.shift
        flat = position.astype(np.float32)
        image = cv2.remap(level.image, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return Layer(slice(low[1], high[1]), slice(low[0], high[0]), np.asarray(image, np.float32))


def _bounds(
    motion: Motion, frame: int, extent: Array, size: tuple[int, int], margin: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First (x, y) and the one after the last of the box that holds the cut-out, within the frame."""
    across, down = (np.linspace(extent[i] - 0.5, extent[i + 2] + 0.5, 13) for i in (0, 1))
    placed = motion.forward(frame, np.stack(np.meshgrid(across, down), -1).reshape(-1, 2))
    low = np.floor(placed.min(0) - margin)
    high = np.ceil(placed.max(0) + margin) + 1
    whole = np.array(size)
    return np.clip(low, 0, whole).astype(np.int64), np.clip(high, 0, whole).astype(np.int64)


def dense_inverse(motion: Motion, frame: int, low: NDArray[np.int64], high: NDArray[np.int64]) -> Array:
    """Cut-out coordinates float [h, w, 2] of every pixel from `low` to before `high`, (x, y) of a frame.

    The map is computed at nodes one step beyond each side and interpolated: exact where it is linear.
    """
    width, height = (high - low).tolist()
    columns, rows = -(-width // _STEP) + 2, -(-height // _STEP) + 2
    first = low - _STEP + (_STEP - 1) / 2  # where cv2.resize puts the centre of the first node
    nodes = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1) * _STEP + first
    found = motion.inverse(frame, nodes.reshape(-1, 2)).reshape(rows, columns, 2)
    dense = cv2.resize(found, (columns * _STEP, rows * _STEP), interpolation=cv2.INTER_LINEAR)
    return np.asarray(dense[_STEP : _STEP + height, _STEP : _STEP + width], np.float64)
