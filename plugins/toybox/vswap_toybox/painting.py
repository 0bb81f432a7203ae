"""Paints parts into frames: signed distances, so that every edge is anti-aliased and every mask exact.

Arrays are planes float32 [T, 3, H, W] in 0..1. A part is painted in all frames of a chunk at once, inside the smallest
box that holds it in each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray
from vswap_toybox.affine import Affine, apply, inverse, magnification
from vswap_toybox.anatomy import Part

_RIM = np.float32(0.09)  # of a part's border that is painted darker, in its owner's units
_ROUNDING = 0.35  # corner radius of a box, of its smaller half size


@dataclass(frozen=True, eq=False)
class Coat:
    """How a part is painted: RGB 0..1, a second colour for the pattern, and its name and frequency."""

    colour: FloatArray
    second: FloatArray
    pattern: str = "plain"
    frequency: float = 6.5
    shaded: bool = True


@dataclass(frozen=True, eq=False)
class Layer:
    """A part in every frame: maps [T, 2, 3] to pixels from its own frame and from its owner's."""

    part: Part
    coat: Coat
    from_part: Affine
    from_owner: Affine


@dataclass(frozen=True, eq=False)
class Canvas:
    """planes float32 [T, 3, H, W], and cover float32 [T, H, W]: how much of each pixel the subject is seen in."""

    planes: FloatArray
    cover: FloatArray


def distance(part: Part, x: FloatArray, y: FloatArray) -> FloatArray:
    """Signed distance to the part's border at (x, y) in its own frame; negative inside; exact near the border only.

    The ellipse is I. Quilez's first-order estimate ("Ellipsoid - SDF"), the box his rounded box with slanted sides.
    """
    wide, high = np.float32(part.half_width), np.float32(part.half_height)
    if part.shape == "ellipse":
        across, up = x / wide, y / high
        level = np.sqrt(across * across + up * up)
        across /= wide
        up /= high
        slope = np.sqrt(across * across + up * up) + np.float32(1e-6)
        estimate: FloatArray = level * (level - 1) / slope
        return estimate
    rounding = np.float32(_ROUNDING * min(part.half_width, part.half_height) * (1 - 0.8 * abs(part.taper)))
    beyond_y = np.abs(y) + (rounding - high)
    if part.taper:
        rise = np.clip(y * (np.float32(0.5) / high) + np.float32(0.5), 0, 1)
        upright = np.float32(1 / np.hypot(1, part.taper * part.half_width / (2 * part.half_height)))
        beyond_x = (np.abs(x) + rise * (wide * np.float32(part.taper)) - wide) * upright + rounding
    else:
        beyond_x = np.abs(x) + (rounding - wide)
    inside = np.minimum(np.maximum(beyond_x, beyond_y), 0)
    np.maximum(beyond_x, 0, out=beyond_x)
    np.maximum(beyond_y, 0, out=beyond_y)
    box: FloatArray = np.sqrt(beyond_x * beyond_x + beyond_y * beyond_y) + (inside - rounding)
    return box


def corners(layer: Layer) -> NDArray[np.float64]:
    """float64 [T, 4, 2]: pixels of the corners of the part's own bounding box."""
    wide, high = layer.part.half_width, layer.part.half_height
    return apply(layer.from_part, [[-wide, -high], [wide, -high], [wide, high], [-wide, high]])


def covers(layer: Layer, points: FloatArray) -> BoolArray:
    """bool [T, N]: whether the part covers the middle of points float32 [T, N, 2] of pixels."""
    local = apply(inverse(layer.from_part), points)
    return distance(layer.part, local[..., 0].astype(np.float32), local[..., 1].astype(np.float32)) < 0


def paint(canvas: Canvas, layer: Layer, *, hides: bool = False) -> None:
    """Paint the part over what is in `canvas`; it adds to the cover, or takes away from it when `hides` is set."""
    box = _box(layer, canvas.cover.shape[1:])
    if box is None:
        return
    rows, columns = box
    x, y = _local(inverse(layer.from_part), rows, columns)
    depth = distance(layer.part, x, y)
    depth *= magnification(layer.from_part).astype(np.float32)[:, None, None]
    alpha = np.clip(np.float32(0.5) - depth, 0, 1)
    keep = 1 - alpha
    cover = canvas.cover[:, rows, columns]
    cover *= keep
    if not hides:
        cover += alpha
    pixels = magnification(layer.from_owner).astype(np.float32)[:, None, None]
    light = np.clip(depth * (-0.3 / (_RIM * pixels)) + np.float32(0.7), 0.7, 1)
    light *= alpha
    along, up = _local(inverse(layer.from_owner), rows, columns)
    if layer.coat.shaded:
        light *= 1 + np.float32(0.18) * up
    mix = _pattern(layer.coat, along, up)
    second = None if mix is None else mix * light
    for channel in range(3):
        plane = canvas.planes[:, channel, rows, columns]
        plane *= keep
        plane += layer.coat.colour[channel] * light
        if second is not None:
            plane += (layer.coat.second[channel] - layer.coat.colour[channel]) * second


def _box(layer: Layer, size: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Rows and columns that hold the part in every frame, or None when it is outside."""
    around = corners(layer)
    low = np.floor(around.min((0, 1)) - 1).astype(int)
    high = np.ceil(around.max((0, 1)) + 2).astype(int)
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, (size[1], size[0]))
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _local(maps: Affine, rows: slice, columns: slice) -> tuple[FloatArray, FloatArray]:
    """(x, y), each float32 [T, rows, columns], of the box's pixels taken by `maps`."""
    # Summed in this order, a pixel's place is the same to the last bit in whatever box it is painted.
    column, row = np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)
    across = (maps[:, :, 0, None] * column + maps[:, :, 2, None]).astype(np.float32)
    down = (maps[:, :, 1, None] * row).astype(np.float32)
    places = [across[:, axis, None, :] + down[:, axis, :, None] for axis in (0, 1)]
    return places[0], places[1]


def _pattern(coat: Coat, x: FloatArray, y: FloatArray) -> FloatArray | None:
    """How much of the second colour is at each place, float32 0..1; None for a plain coat."""
    if coat.pattern == "plain":
        return None
    frequency = np.float32(coat.frequency)
    mix: FloatArray
    if coat.pattern == "striped":
        mix = np.float32(2.2) * np.sin(frequency * np.float32(1.4) * x + np.float32(1.2) * y) + np.float32(0.5)
    else:
        fine = frequency * np.float32(1.6)
        mix = np.float32(4) * np.sin(fine * x) * np.sin(fine * y) - np.float32(0.7)
    return np.clip(mix, 0, 1, out=mix)
