"""Where the named points of a result are, found by what the exact answer has there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointTracks

_HALF, _RADIUS = 0.09, 0.125  # of the shorter side: half width of a patch, and how far it is looked for
_AMBIGUOUS = 0.85  # a place of the answer itself that looks so much like the point makes it no landmark there
_APART = 3.0  # pixels
_FOUND = 0.35
_SHARES = (0.3, 0.7)  # of colours and edges: a blue cat for a yellow one has its nose in the same place
_RIM = 2  # pixels around the subject that belong to a patch: its outline is its best landmark


@dataclass(frozen=True, eq=False)
class Search:
    """Attributes:
    half: half width of a patch in pixels.
    offsets: int [K, 2], the places (x, y) at which it is tried, relative to the point.
    """

    half: int
    offsets: np.ndarray[tuple[int, int], np.dtype[np.int_]]

    @classmethod
    def of(cls, size: tuple[int, int]) -> Search:
        """For a frame of `size` (width, height)."""
        half, radius = (max(3, round(share * min(size))) for share in (_HALF, _RADIUS))
        grid = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1).T[:, ::-1]
        near = grid[np.hypot(*grid.T) <= radius]
        return cls(half, near[np.argsort(np.hypot(*near.T), kind="stable")])

    @property
    def radius(self) -> float:
        """The furthest offset, in pixels."""
        return float(np.hypot(*self.offsets[-1]))

    @property
    def reach(self) -> int:
        """The largest offset along one axis."""
        return int(np.abs(self.offsets).max())


class PointFinder:
    """Finds the points of an exact answer in results.

    Around each visible point, the patch of the answer is looked for in the result: normalised cross-correlation (0.3
    of it of the colours, 0.7 of their edges) over the pixels of the subject and a narrow rim alone, so that background
    which stayed in its place doesn't vote. The nearest of the best places wins. A point that is found nowhere counts as
    the radius of the search, an eighth of the frame's shorter side.

    A point in the middle of a plain piece looks the same a few pixels on: where the answer's own patch is found there
    too, the point is left out in that frame, for every method alike.
    """

    def __init__(self, answer: ByteArray, masks: ByteArray, tracks: PointTracks) -> None:
        """answer uint8 [T, H, W, 3] RGB; masks uint8 [T, H, W], where its subject is; tracks, where its points are."""
        self._answer, self._tracks, self._search = answer, tracks, Search.of(tracks.size)
        pad = self._search.reach + self._search.half
        self._weights = [np.pad(_grown(mask > 0).astype(np.float32), pad) for mask in masks]
        itself = self._likeness(answer, tracks.visible)
        away = np.hypot(*self._search.offsets.T) >= _APART
        self.landmark: BoolArray = tracks.visible & (itself[..., away].max(2) < _AMBIGUOUS) & (itself[..., 0] > 0.99)
        """bool [T, N]: visible, and nothing near looks the same."""

    def errors(self, result: ByteArray) -> FloatArray:
        """How far each point of `result` uint8 [T, H, W, 3] is from its true place: float32 [T, N] pixels, else NaN."""
        likeness = self._likeness(result, self.landmark)
        best = likeness.argmax(2)
        distance = np.hypot(*self._search.offsets.T)[best]
        found = np.take_along_axis(likeness, best[..., None], 2)[..., 0] >= _FOUND
        errors: FloatArray = np.where(found, distance, self._search.radius).astype(np.float32)
        return np.where(self.landmark, errors, np.float32(np.nan))

    def _likeness(self, result: ByteArray, wanted: BoolArray) -> FloatArray:
        """float32 [T, N, K] at each offset of the search, -1..1; 0 for points that aren't `wanted` bool [T, N]."""
        likeness = np.zeros((*wanted.shape, len(self._search.offsets)), np.float32)
        for frame in np.flatnonzero(wanted.any(1)):
            true, found = (_channels(video[frame], self._search) for video in (self._answer, result))
            for point in np.flatnonzero(wanted[frame]):
                place = self._tracks.xy[frame, point].round().astype(int)
                x, y = place.clip(0, np.array(self._tracks.size) - 1)
                likeness[frame, point] = _likeness(true, found, self._weights[frame], (x, y), self._search)
        return likeness


def _channels(frame: ByteArray, search: Search) -> FloatArray:
    """float32 [4, H + 2P, W + 2P]: RGB 0..1, and the strongest channel's gradient; padded for the search."""
    colour = frame.transpose(2, 0, 1).astype(np.float32) / 255
    down, across = np.gradient(colour, axis=(1, 2))
    edges = np.sqrt(down * down + across * across).max(0)
    pad = search.half + search.reach
    return np.pad(np.concatenate([colour, edges[None]]), ((0, 0), (pad, pad), (pad, pad)), mode="edge")


def _grown(mask: BoolArray) -> BoolArray:
    """The mask [H, W] and `_RIM` pixels around it."""
    wide = sliding_window_view(np.pad(mask, _RIM), (2 * _RIM + 1, 2 * _RIM + 1))
    grown: BoolArray = np.logical_or.reduce(wide, (2, 3))
    return grown


def _likeness(
    true: FloatArray, found: FloatArray, weight: FloatArray, place: tuple[int, int], search: Search
) -> FloatArray:
    """float32 [K]: likeness of `found` at each offset to `true` at the pixel `place`, both made by `_channels`."""
    (x, y), width = place, 2 * search.half + 1
    rows, columns = (slice(at + search.reach, at + search.reach + width) for at in (y, x))
    weights = weight[rows, columns].ravel()
    weights = weights / max(float(weights.sum()), 1.0)
    wide = width + 2 * search.reach
    windows = sliding_window_view(found[:, y : y + wide, x : x + wide], (width, width), (1, 2))
    patches = windows[:, search.offsets[:, 1] + search.reach, search.offsets[:, 0] + search.reach]
    patches = patches.reshape(len(found), len(search.offsets), -1)
    template = true[:, rows, columns].reshape(len(true), -1)
    template = template - (template @ weights)[:, None]
    shared = (patches @ (template * weights)[..., None])[..., 0]
    spread = np.maximum((patches * patches) @ weights - (patches @ weights) ** 2, 0)
    own = (template * template) @ weights
    colours, edges = slice(0, 3), slice(3, 4)
    parts = [shared[g].sum(0) / np.sqrt(np.maximum(spread[g].sum(0) * own[g].sum(), 1e-10)) for g in (colours, edges)]
    likeness: FloatArray = np.average(parts, 0, _SHARES).astype(np.float32)
    return likeness
