"""Compares what a point looked like in its query frame with the surroundings of where it is thought to be.

Patches are gathered row by row from features [cells, channels] of all frames, so that the same code runs in training
and, as plain `Gather` nodes, in an exported graph of any number of frames, points and pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

RADIUS = 3
"""Cells that are searched to each side."""
TEMPLATE = 1
"""Cells around a point that its look is made of, to each side."""
VALUES = (2 * RADIUS + 1) ** 2 * (2 * TEMPLATE + 1) ** 2
"""Numbers that `compare` gives for a point in a frame."""


@dataclass(frozen=True)
class Level:
    """One grid of features of B clips of T frames.

    Attributes:
        cells: [B * T * h * w, C].
        rows, columns: h and w.
        stride: pixels between cells.
    """

    cells: Tensor
    rows: int
    columns: int
    stride: int

    @classmethod
    def of(cls, grid: Tensor, stride: int) -> Level:
        """The level of a grid [B * T, C, h, w]."""
        cells = grid.permute(0, 2, 3, 1).reshape(-1, grid.shape[1])
        return cls(cells, grid.shape[2], grid.shape[3], stride)

    def patch(self, frame: Tensor, xy: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
        """The whole cells around places that lie between cells.

        Args:
            frame: int64 [...], which of the B * T frames.
            xy: [..., 2] pixels.
            radius: cells to each side that interpolation will give.

        Returns:
            Features [..., s * s, C] with s = 2 radius + 2; 0 or 1 [..., s * s, 1] for cells outside or inside the
            grid; and how far [..., 2] the places are beyond the cells that interpolation starts from, 0..1.
        """
        place = (xy / self.stride).clamp(-1e4, 1e4)
        corner = place.floor()
        span = torch.arange(2 * radius + 2, device=xy.device) - radius
        column, row = corner[..., 0, None].long() + span, corner[..., 1, None].long() + span
        inside_x, inside_y = (column >= 0) & (column < self.columns), (row >= 0) & (row < self.rows)
        column, row = column.clamp(0, self.columns - 1), row.clamp(0, self.rows - 1)
        line = (frame[..., None] * self.rows + row) * self.columns
        index = (line[..., :, None] + column[..., None, :]).flatten(-2)
        inside = (inside_y[..., :, None] & inside_x[..., None, :]).flatten(-2)
        return functional.embedding(index, self.cells), inside[..., None].to(xy.dtype), place - corner

    def template(self, frame: Tensor, xy: Tensor) -> Tensor:
        """Features [..., 9, C] at places [..., 2] (pixels) of frames [...] and around them, a cell apart."""
        found, inside, beyond = self.patch(frame, xy, TEMPLATE)
        return interpolate(found * inside, beyond)

    def compare(self, template: Tensor, frame: Tensor, xy: Tensor) -> Tensor:
        """Scalar products [B, N, T, VALUES] of templates [B, N, 9, C] with what is around places [B, N, T, 2] of
        frames [B, 1, T]."""
        found, inside, beyond = self.patch(frame.expand(xy.shape[:-1]), xy, RADIUS)
        products = found.flatten(2, 3) @ template.transpose(-1, -2)
        products = products.unflatten(2, (xy.shape[2], -1)) * inside
        return interpolate(products, beyond).flatten(-2)


def interpolate(patch: Tensor, beyond: Tensor) -> Tensor:
    """Values [..., (s - 1)^2, K] that lie `beyond` [..., 2] the values [..., s * s, K]: bilinear, the same for each."""
    side = round(patch.shape[-2] ** 0.5)
    square = patch.unflatten(-2, (side, side))
    x, y = beyond[..., 0, None, None, None], beyond[..., 1, None, None, None]
    across = square[..., :-1, :] * (1 - x) + square[..., 1:, :] * x
    between: Tensor = across[..., :-1, :, :] * (1 - y) + across[..., 1:, :, :] * y
    return between.flatten(-3, -2)
