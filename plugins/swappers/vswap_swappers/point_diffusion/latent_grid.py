"""How a video's pixels lie on the cells of its latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from vswap_kernel.protocols import Backbone
from vswap_kernel.types import ByteArray


@dataclass(frozen=True)
class LatentGrid:
    """size (width, height) of the video in pixels; cell: pixels of a latent cell's side; levels of the U-Net."""

    size: tuple[int, int]
    cell: int
    levels: int

    @classmethod
    def of(cls, backbone: Backbone, size: tuple[int, int]) -> Self:
        """The grid of a video of that size (width, height)."""
        cell = 2 ** (len(backbone.vae.config.block_out_channels) - 1)
        return cls(size, cell, len(backbone.unet.config.block_out_channels))

    @property
    def cells(self) -> tuple[int, int]:
        """(rows, columns) of the latents; cells at the right and lower edge may reach beyond the frame."""
        return -(-self.size[1] // self.cell), -(-self.size[0] // self.cell)

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each down level."""
        return tuple(self.cell << level for level in range(self.levels))

    def padded(self, frames: ByteArray) -> ByteArray:
        """Frames [F, H, W, 3] with their last row and column repeated until whole cells cover them."""
        rows, columns = self.cells
        missing = (rows * self.cell - self.size[1], columns * self.cell - self.size[0])
        return np.pad(frames, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")

    def cropped(self, frames: ByteArray) -> ByteArray:
        """Decoded frames [F, H', W', 3] without what `padded` added."""
        return frames[:, : self.size[1], : self.size[0]]

    def cells_of(self, masks: ByteArray) -> Tensor:
        """bool [F, rows, columns]: the cells that hold any pixel of masks uint8 [F, H, W] of at least half strength."""
        rows, columns = self.cells
        bottom, right = rows * self.cell - self.size[1], columns * self.cell - self.size[0]
        full = np.pad(masks, ((0, 0), (0, bottom), (0, right)), mode="edge")
        return max_pool2d(torch.from_numpy(full > 127).float()[:, None], self.cell)[:, 0] > 0

    def pixels_of(self, cells: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """bool [F, H, W] of cells bool [F, rows, columns]: the outline runs smoothly through the cells' borders."""
        wide = interpolate(cells[:, None].float().cpu(), scale_factor=self.cell, mode="bilinear")[:, 0]
        return (wide[:, : self.size[1], : self.size[0]] >= 0.5).numpy()
