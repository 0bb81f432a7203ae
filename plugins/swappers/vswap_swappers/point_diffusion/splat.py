"""Puts one feature vector per point on empty maps, at the points' fixed positions.

Source: Gu et al., "VideoSwap" (CVPR 2024, arXiv 2312.02087), section 3.2. Positions never change while an adapter is
registered or used, so all that depends on them is a constant matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vswap_kernel.types import BoolArray, FloatArray

STRIDES = (8, 16, 32, 64)
"""Pixels of the video per cell of the maps, for the four down levels of a Stable-Diffusion-1.5-class U-Net."""


class _Place(torch.autograd.Function):
    """Rows [U, C] to cells of zero maps. As no two rows share a cell, this adds nothing up, and so gives the same bytes
    on any device; autograd's own backward of an indexed assignment would copy whole maps."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, frame: Tensor, cell: Tensor, frames: int, cells: int) -> Tensor:
        ctx.save_for_backward(frame, cell)
        maps = rows.new_zeros(frames, rows.shape[1], cells)
        maps[frame, :, cell] = rows
        return maps

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        frame, cell = ctx.saved_tensors
        return gradients[0][frame, :, cell], None, None, None, None


@dataclass(frozen=True, eq=False)
class Splat:
    """The splat of P points at one level, for all frames.

    weights float32 [U, P]: how much of each point is in each of the U cells that any point reaches; frame and cell
    int64 [U]: where those cells are (cell counts rows of `size[1]` columns); frames: number of frames; size: (rows,
    columns) of the maps.
    """

    weights: Tensor
    frame: Tensor
    cell: Tensor
    frames: int
    size: tuple[int, int]

    @classmethod
    def at(cls, xy: FloatArray, visible: BoolArray, stride: int, size: tuple[int, int]) -> Self:
        """The splat of positions xy [F, P, 2] (x, y), pixels, and visible [F, P], onto maps of `size` (rows, columns).

        Positions are divided by `stride` (a cell's centre is at its index) and shared bilinearly between four cells.
        Outside the map they count as on its border. Invisible points are nowhere.
        """
        frames, points = visible.shape
        furthest = np.array([size[1] - 1, size[0] - 1], np.float32)
        position = np.clip(np.asarray(xy, np.float32) / np.float32(stride), 0, furthest)
        low = position.astype(np.int64)
        share = position - low.astype(np.float32)
        high = np.minimum(low + 1, furthest.astype(np.int64))
        columns = np.stack([low[..., 0], high[..., 0]], axis=-1)[..., None, :]
        rows = np.stack([low[..., 1], high[..., 1]], axis=-1)[..., :, None]
        across = np.stack([1 - share[..., 0], share[..., 0]], axis=-1)[..., None, :]
        down = np.stack([1 - share[..., 1], share[..., 1]], axis=-1)[..., :, None]
        place = (np.arange(frames)[:, None, None, None] * size[0] + rows) * size[1] + columns
        weight = (down * across) * visible[..., None, None]
        point = np.broadcast_to(np.arange(points)[:, None, None], place.shape)
        return cls._merged(place, point, weight, frames, size)

    @classmethod
    def _merged(
        cls,
        place: NDArray[np.int64],
        point: NDArray[np.int64],
        weight: FloatArray,
        frames: int,
        size: tuple[int, int],
    ) -> Self:
        used = weight != 0
        cells, row = np.unique(place[used], return_inverse=True)
        weights = np.zeros((len(cells), place.shape[1]), np.float32)
        np.add.at(weights, (row.reshape(-1), point[used]), weight[used])
        frame, cell = np.divmod(cells, size[0] * size[1])
        return cls(torch.from_numpy(weights), torch.from_numpy(frame), torch.from_numpy(cell), frames, size)

    def to(self, device: torch.device | str) -> Splat:
        """The same splat on another device."""
        weights, frame, cell = (part.to(device) for part in (self.weights, self.frame, self.cell))
        return Splat(weights, frame, cell, self.frames, self.size)

    def part(self, start: int, stop: int) -> Splat:
        """The splat of frames start to stop (exclusive) alone."""
        inside = (self.frame >= start) & (self.frame < stop)
        return Splat(self.weights[inside], self.frame[inside] - start, self.cell[inside], stop - start, self.size)

    def __call__(self, features: Tensor) -> Tensor:
        """Maps [F, C, rows, columns] of features [P, C]; differentiable in the features."""
        rows = self.weights.to(features.dtype) @ features
        place = cast("Callable[..., Tensor]", _Place.apply)
        maps = place(rows, self.frame, self.cell, self.frames, self.size[0] * self.size[1])
        return maps.view(*maps.shape[:2], *self.size)


def splats(
    xy: FloatArray, visible: BoolArray, size: tuple[int, int], strides: Sequence[int] = STRIDES
) -> tuple[Splat, ...]:
    """One splat per level for points xy [F, P, 2], pixels, and visible [F, P], of a video of `size` (width, height)."""
    return tuple(Splat.at(xy, visible, stride, (-(-size[1] // stride), -(-size[0] // stride))) for stride in strides)
