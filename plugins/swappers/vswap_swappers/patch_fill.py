"""Fill a hole in one picture with texture from elsewhere in it.

Coarse to fine, every patch that touches the hole looks for its nearest patch outside, and the hole's pixels are the
weighted mean of what those patches say (Wexler, Shechtman and Irani 2007, "Space-time completion of video", section 3,
for one frame), with the search of PatchMatch (Barnes et al. 2009) run for all patches at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_swappers.push_pull import diffuse

_RADIUS = 3
_ROUNDS = (8, 5, 4, 3, 3, 2)  # searches and votes at each level, coarsest first
_FAR = 0.6  # squared grey levels for each pixel of distance: what is near is likelier to belong there
_OFFSETS = np.stack(np.meshgrid(np.arange(-_RADIUS, _RADIUS + 1), np.arange(-_RADIUS, _RADIUS + 1)), -1).reshape(-1, 2)
_NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (5, 0), (-5, 0), (0, 5), (0, -5))


def fill_by_patches(image: ByteArray, hole: BoolArray, avoid: BoolArray, seed: int = 0) -> ByteArray:
    """Fill a hole with plausible texture; what lies outside it is returned as it was.

    Falls back to a smooth fill where the picture has no whole patch outside the hole to copy from.

    Args:
        image: uint8 [H, W, 3].
        hole: bool [H, W].
        avoid: bool [H, W], what nothing is copied from although it's known, as a shadow of what was there.
        seed: of the random search.

    Returns:
        uint8 [H, W, 3].
    """
    if not hole.any():
        return image
    rng = np.random.default_rng(seed)
    pixels = image.astype(np.float32)
    smooth = diffuse(pixels, (~hole).astype(np.float32))
    levels = _pyramid(smooth, hole, avoid)
    estimate: FloatArray = levels[-1][0]
    search: _Search | None = None
    for depth, (level, holed, avoided) in enumerate(reversed(levels)):
        far = _FAR * 2 ** (len(levels) - 1 - depth)
        finer = _Search.begin(holed, avoided, far, search, rng)
        if finer is None:
            estimate = level
            continue
        estimate = level if search is None else finer.vote(level)
        search = finer
        for _ in range(_ROUNDS[min(depth, len(_ROUNDS) - 1)]):
            search.improve(estimate, rng)
            estimate = search.vote(estimate)
    filled = np.clip(np.rint(estimate), 0, 255).astype(np.uint8)
    return np.where(hole[..., None], filled, image)


def _pyramid(image: FloatArray, hole: BoolArray, avoid: BoolArray) -> list[tuple[FloatArray, BoolArray, BoolArray]]:
    """Halved until the hole is hardly wider than a patch, finest first."""
    levels = [(image, hole, avoid)]
    while _depth(hole) > _RADIUS and min(hole.shape) >= 8 * _RADIUS:
        size = ((hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2)
        known = (~hole).astype(np.float32)
        share: Any = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        total: Any = cv2.resize(image * known[..., None], size, interpolation=cv2.INTER_AREA)
        hole = share < 0.5
        avoid = cv2.resize(avoid.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.25
        image = diffuse(total / np.maximum(share, 1e-6)[..., None], (~hole).astype(np.float32))
        levels.append((image, hole, avoid))
    return levels


def _depth(hole: BoolArray) -> float:
    """How far the hole's innermost pixel is from its border, in pixels."""
    return float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max())


@dataclass(eq=False)
class _Search:
    """The nearest patches found so far at one level of the pyramid.

    centres, nearest int [N, 2] (x, y): a patch that touches the hole, and the patch outside that it's most like;
    cost float32 [N]; slot int [H, W], the number of the centre at each pixel or -1; usable bool [H, W], where a whole
    patch outside is centred; hole bool [H, W]; far, squared grey levels for each pixel of distance.
    """

    centres: NDArray[np.int64]
    nearest: NDArray[np.int64]
    cost: FloatArray
    slot: NDArray[np.int64]
    usable: BoolArray
    hole: BoolArray
    far: float

    @classmethod
    def begin(
        cls, hole: BoolArray, avoid: BoolArray, far: float, coarser: _Search | None, rng: np.random.Generator
    ) -> _Search | None:
        """Start from a coarser level's matches, or at random; None where nothing can be copied."""
        height, width = hole.shape
        kernel = np.ones((2 * _RADIUS + 1, 2 * _RADIUS + 1), np.uint8)
        touched: Any = cv2.dilate(hole.astype(np.uint8), kernel) > 0
        usable: BoolArray = ~(cv2.dilate((hole | avoid).astype(np.uint8), kernel) > 0)
        border = np.ones_like(usable)
        border[_RADIUS : height - _RADIUS, _RADIUS : width - _RADIUS] = False
        usable &= ~border
        if usable.sum() < 16:
            return None
        centres = np.argwhere(touched & ~border)[:, ::-1]
        if len(centres) == 0:
            return None
        slot = np.full(hole.shape, -1, np.int64)
        slot[centres[:, 1], centres[:, 0]] = np.arange(len(centres))
        anywhere = np.argwhere(usable)[:, ::-1]
        nearest = anywhere[rng.integers(len(anywhere), size=len(centres))]
        search = cls(centres, nearest, np.full(len(centres), np.inf, np.float32), slot, usable, hole, far)
        if coarser is not None:
            parent = coarser.slot[
                np.minimum(centres[:, 1] // 2, coarser.slot.shape[0] - 1),
                np.minimum(centres[:, 0] // 2, coarser.slot.shape[1] - 1),
            ]
            from_parent = 2 * coarser.nearest[parent] + centres % 2
            take = (parent >= 0) & search._is_usable(from_parent)
            search.nearest = np.where(take[:, None], from_parent, nearest)
        return search

    def improve(self, image: FloatArray, rng: np.random.Generator) -> None:
        """One round: try the neighbours' matches, moved along, and random ones at shrinking distance."""
        wanted = _patches(image, self.centres)
        self.cost = self._costs(image, wanted, self.nearest, np.arange(len(self.centres)))
        for shift in _NEIGHBOURS:
            self._try(image, wanted, self._from_neighbours(np.array(shift)))
        reach = float(max(self.hole.shape))
        while reach >= 2:
            step = np.rint(rng.uniform(-reach, reach, self.nearest.shape) * (1.0, 0.5)).astype(np.int64)
            self._try(image, wanted, self.nearest + step)
            reach /= 3

    def vote(self, image: FloatArray) -> FloatArray:
        """The image with each pixel of the hole the mean of what the patches over it say, good patches first."""
        height, width = self.hole.shape
        scale = float(np.percentile(self.cost, 60)) if np.isfinite(self.cost).all() else 1.0
        cost = np.where(np.isfinite(self.cost), self.cost, scale)
        trust = np.exp(-cost / (2 * max(scale, 1.0) * 0.3)).astype(np.float32) + 1e-6
        total = np.zeros((height, width, 3), np.float32)
        weight = np.zeros((height, width), np.float32)
        for offset in _OFFSETS:
            x, y = (self.centres + offset).T
            from_x, from_y = (self.nearest + offset).T
            total[y, x] += trust[:, None] * image[from_y, from_x]
            weight[y, x] += trust
        told = self.hole & (weight > 0)
        result = image.copy()
        result[told] = total[told] / weight[told][:, None]
        return result

    def _from_neighbours(self, shift: NDArray[np.int64]) -> NDArray[np.int64]:
        x, y = (self.centres + shift).T
        inside = (x >= 0) & (y >= 0) & (x < self.hole.shape[1]) & (y < self.hole.shape[0])
        neighbour = np.where(inside, self.slot[np.where(inside, y, 0), np.where(inside, x, 0)], -1)
        return np.where((neighbour >= 0)[:, None], self.nearest[neighbour] - shift, -1)

    def _try(self, image: FloatArray, wanted: FloatArray, candidates: NDArray[np.int64]) -> None:
        able = np.flatnonzero(self._is_usable(candidates) & (candidates != self.nearest).any(axis=1))
        cost = self._costs(image, wanted, candidates[able], able)
        better = cost < self.cost[able]
        self.nearest[able[better]] = candidates[able[better]]
        self.cost[able[better]] = cost[better]

    def _is_usable(self, places: NDArray[np.int64]) -> BoolArray:
        x, y = places.T
        inside = (x >= 0) & (y >= 0) & (x < self.hole.shape[1]) & (y < self.hole.shape[0])
        usable: BoolArray = inside & self.usable[np.where(inside, y, 0), np.where(inside, x, 0)]
        return usable

    def _costs(
        self, image: FloatArray, wanted: FloatArray, places: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> FloatArray:
        difference = _patches(image, places) - wanted[rows]
        squared = np.einsum("nk,nk->n", difference, difference) / difference.shape[1]
        away = np.abs(places - self.centres[rows]).sum(axis=1)
        cost: FloatArray = (squared + self.far * away).astype(np.float32)
        return cost


def _patches(image: FloatArray, centres: NDArray[np.int64]) -> FloatArray:
    """The patches around centres [N, 2] (x, y): float32 [N, 147]."""
    width = image.shape[1]
    flat = (centres[:, 1] * width + centres[:, 0])[:, None] + (_OFFSETS[:, 1] * width + _OFFSETS[:, 0])
    patches: FloatArray = image.reshape(-1, 3)[flat].reshape(len(centres), 3 * len(_OFFSETS))
    return patches
