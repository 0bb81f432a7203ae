"""Turns frames into two grids of features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

FINE, COARSE = 4, 8
"""Pixels between neighbouring cells of the two grids; cell 0 is pixel 0, as all convolutions are centred."""


class Grids(NamedTuple):
    """Unit-length features [frames, channels, rows, columns] at every `FINE` and every `COARSE` pixels."""

    fine: Tensor
    coarse: Tensor


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(channels, channels, 3), _convolution(channels, channels, 3)

    def forward(self, grid: Tensor) -> Tensor:
        """Features of the same shape."""
        return functional.relu(grid + self.second(functional.relu(self.first(grid))))


class Encoder(nn.Module):
    """A convolutional network of two levels."""

    def __init__(self, stem: int, fine: int, coarse: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, stem, 5, 2), nn.ReLU(), _convolution(stem, fine, 3, 2), nn.ReLU(), Residual(fine)
        )
        self.deeper = nn.Sequential(_convolution(fine, coarse, 3, 2), nn.ReLU(), Residual(coarse), Residual(coarse))
        self.fine, self.coarse = nn.Conv2d(fine, fine, 1), nn.Conv2d(coarse, coarse, 1)

    def forward(self, frames: Tensor) -> Grids:
        """Features of frames [frames, 3, H, W] in -1..1; a grid has ceil(H / 4) or ceil(H / 8) rows."""
        stem = self.stem(frames)
        deeper = self.deeper(stem)
        return Grids(_unit(self.fine(stem)), _unit(self.coarse(deeper)))


def _unit(grid: Tensor) -> Tensor:
    # an epsilon below the root: the gradient of a norm is not finite at zero
    return grid.float() * torch.rsqrt(grid.float().square().sum(1, keepdim=True) + 1e-6)


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(min(8, outputs), outputs))
