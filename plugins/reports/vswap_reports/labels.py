"""Colours for named points, and places for their labels that hide neither points nor each other."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray

_Boxes = NDArray[np.float64]
_LEAST_LUMA = 0.5
_GOLDEN = (5**0.5 - 1) / 2  # steps of it around the circle of hues keep any number of them apart


def point_colours(count: int) -> list[tuple[int, int, int]]:
    """Bright (red, green, blue) of 0..255, one a point; the first ones stay the same however many follow."""
    hues = [(0.02 + index * _GOLDEN) % 1 for index in range(count)]
    return [_legible(colorsys.hsv_to_rgb(hue, 0.8, 1)) for hue in hues]


def _legible(colour: tuple[float, float, float]) -> tuple[int, int, int]:
    """`colour` in 0..1, whitened where it is too dark (blue, violet) for letters with a black rim; in 0..255."""
    red, green, blue = colour
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    white = max(0.0, (_LEAST_LUMA - luma) / (1 - luma))
    lifted = [round(255 * (part + white * (1 - part))) for part in colour]
    return lifted[0], lifted[1], lifted[2]


def place_labels(
    xy: FloatArray,
    widths: Sequence[float],
    height: float,
    size: tuple[float, float],
    gap: float,
    keep_clear: FloatArray | None = None,
) -> list[tuple[float, float]]:
    """Where each label goes: (left, top) of its box.

    Each box is tried right, left, above and below its point, then on the diagonals, and takes the first free place
    within the picture; where none is free, the least bad one.

    Args:
        xy: float32 [N, 2], the points in pixels.
        widths: N, of the label boxes. height: of all of them.
        size: (width, height) of the picture.
        gap: from the point's centre to its label.
        keep_clear: float32 [M, 2], what else labels shouldn't hide, such as the shafts of arrows.
    """
    discs = np.concatenate([xy - gap * 0.7, xy + gap * 0.7], axis=1)
    placed: list[tuple[float, float]] = []
    boxes = np.zeros((0, 4)) if keep_clear is None else np.concatenate([keep_clear - 2, keep_clear + 2], axis=1)
    for index, (x, y) in enumerate(xy.tolist()):
        width = widths[index]
        middle, above, below = y - height / 2, y - gap - height, y + gap
        right, left = x + gap, x - gap - width
        corners = [(right, middle), (left, middle), (x - width / 2, above), (x - width / 2, below)]
        corners += [(right, above), (right, below), (left, above), (left, below)]
        tried = np.array([(cx, cy, cx + width, cy + height) for cx, cy in corners])
        others = np.concatenate([np.delete(discs, index, axis=0), boxes])
        cost = _overlaps(tried, others) + 3 * _outside(tried, size)
        best = tried[int(np.argmin(cost))]
        boxes = np.concatenate([boxes, best[None]])
        placed.append((float(best[0]), float(best[1])))
    return placed


def _overlaps(boxes: _Boxes, others: _Boxes) -> NDArray[np.int64]:
    """How many of `others` [M, 4] (left, top, right, bottom) each of `boxes` [K, 4] cuts: [K]."""
    a, b = boxes[:, None], others[None]
    cuts = (a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])
    counts: NDArray[np.int64] = cuts.all(axis=2).sum(axis=1)
    return counts


def _outside(boxes: _Boxes, size: tuple[float, float]) -> BoolArray:
    """Whether each of `boxes` [K, 4] leaves the picture: [K]."""
    inside: BoolArray = np.all((boxes[:, :2] >= 0) & (boxes[:, 2:] <= np.array(size)), axis=1)
    return np.logical_not(inside)
