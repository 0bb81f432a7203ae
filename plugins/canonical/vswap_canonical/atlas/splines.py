"""Uniform cubic B-splines over a window of each frame: smooth maps of the plane whose fit is a linear equation.

A window is cut into n intervals along each axis, which need n + 3 control points. Outside of it the map goes on
linearly. (Unser, "Splines: a perfect fit for signal and image processing", IEEE SPM 1999, section II.)
"""

from __future__ import annotations

import torch
from torch import Tensor

EXTRA = 3
"""Control points more than intervals."""


def weights(place: Tensor, intervals: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of places [N], in intervals from the window's start: the first of the four control points that each depends on
    int64 [N], their weights [N, 4] and the slopes of these [N, 4] (per interval)."""
    inside = place.clamp(0, intervals)
    first = inside.floor().clamp(max=intervals - 1)
    u = inside - first
    v = 1 - u
    value = torch.stack([v**3, 3 * u**3 - 6 * u**2 + 4, 3 * v**3 - 6 * v**2 + 4, u**3], -1) / 6
    slope = torch.stack([-(v**2), 3 * u**2 - 4 * u, 4 * v - 3 * v**2, u**2], -1) / 2
    return first.long(), value + (place - inside)[..., None] * slope, slope


def matrix(place: Tensor, intervals: int) -> Tensor:
    """The same weights of places [..., N] as a matrix [..., N, intervals + 3], to be multiplied to control points."""
    first, value, _ = weights(place, intervals)
    full = torch.zeros(*place.shape, intervals + EXTRA, dtype=place.dtype, device=place.device)
    return full.scatter_(-1, first[..., None] + torch.arange(4, device=place.device), value)


def linear_weights(place: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Linear interpolation between cell centres, at places [..., N] in 0..1 of all cells' extent: the first of the two
    cells that each depends on int64 [..., N], and their weights [..., N, 2] ([..., N, 1] of a single cell). Beyond the
    outermost centres their values hold."""
    centred = (place * cells - 0.5).clamp(0, cells - 1)
    first = centred.floor().clamp(max=max(cells - 2, 0))
    part = centred - first
    return first.long(), torch.stack([1 - part, part], -1)[..., : min(cells, 2)]


def linear_matrix(place: Tensor, cells: int) -> Tensor:
    """The same weights as a matrix [..., N, cells]."""
    first, both = linear_weights(place, cells)
    full = torch.zeros(*place.shape, cells, dtype=place.dtype, device=place.device)
    return full.scatter_(-1, first[..., None] + torch.arange(both.shape[-1], device=place.device), both)


def abscissae(intervals: int) -> Tensor:
    """The control values [intervals + 3] of the identity: place = sum of weights * abscissae."""
    return torch.arange(-1, intervals + 2, dtype=torch.float32)


def bending(rows: int, columns: int) -> Tensor:
    """The quadratic form [rows * columns, rows * columns] of how far a grid of control points is from affine: sum of
    its squared second differences (both axes, and twice the mixed one), as a thin plate's energy."""

    def difference(count: int, order: int) -> Tensor:
        step = torch.eye(count)
        for _ in range(order):
            step = step[1:] - step[:-1]
        return step

    def form(down: Tensor, across: Tensor) -> Tensor:
        return torch.kron(down.T @ down, across.T @ across)

    still = torch.eye(rows), torch.eye(columns)
    mixed = form(difference(rows, 1), difference(columns, 1))
    return form(difference(rows, 2), still[1]) + form(still[0], difference(columns, 2)) + 2 * mixed
