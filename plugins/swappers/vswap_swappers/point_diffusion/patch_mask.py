"""Which latent cells count in the registration loss.

Source: Gu et al., "VideoSwap" (CVPR 2024, arXiv 2312.02087), section 3.2, "point patch loss".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vswap_kernel.types import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class PatchMask:
    """The patches of P points on latents of [F, ., rows, columns].

    down float32 [F, P, rows] and across float32 [F, P, columns]: 1 on the rows and columns of each point's patch;
    every_frame: a patch counts in all frames, not only in its own.
    """

    down: Tensor
    across: Tensor
    every_frame: bool = False

    @classmethod
    def around(
        cls,
        xy: FloatArray,
        visible: BoolArray,
        size: tuple[int, int],
        *,
        stride: int = 8,
        width: int = 4,
        reference_patch_mask: bool = False,
    ) -> Self:
        """Patches of width x width cells about points xy [F, P, 2], pixels, where visible [F, P]; size (rows, columns).

        A patch has its middle at the four cells that share the point in the splat, and is cut off at the border.
        With `reference_patch_mask` it is as in the recorded reference: one cell further up and left, never on the last
        row or column, and lit in every frame.
        """
        limits = np.array([size[1], size[0]], np.int64)
        if reference_patch_mask:
            cell = np.trunc(xy / np.float32(stride)).astype(np.int64)
            first = np.maximum(cell - width // 2, 0)
            stop = np.minimum(cell + width - width // 2, limits - 1)
        else:
            cell = np.clip(xy / np.float32(stride), 0, limits - 1).astype(np.int64)
            first = np.maximum(cell - (width - 1) // 2, 0)
            stop = np.minimum(cell + 1 + width // 2, limits)
        first[~visible], stop[~visible] = 0, 0
        across, down = (
            (np.arange(limits[axis]) >= first[..., axis, None]) & (np.arange(limits[axis]) < stop[..., axis, None])
            for axis in (0, 1)
        )
        spans = torch.from_numpy(down.astype(np.float32)), torch.from_numpy(across.astype(np.float32))
        return cls(*spans, every_frame=reference_patch_mask)

    def to(self, device: torch.device | str) -> PatchMask:
        """The same patches on another device."""
        return PatchMask(self.down.to(device), self.across.to(device), self.every_frame)

    def part(self, start: int, stop: int) -> PatchMask:
        """The patches of frames start to stop (exclusive) alone."""
        return PatchMask(self.down[start:stop], self.across[start:stop], self.every_frame)

    def of(self, kept: Tensor) -> Tensor:
        """float32 [F, 1, rows, columns], 1 where the patch of any point of kept bool [P] is, 0 elsewhere."""
        down = self.down * kept[None, :, None]
        covered = torch.matmul(down.transpose(1, 2), self.across)
        if self.every_frame:
            covered = covered.sum(0, keepdim=True).expand_as(covered)
        return (covered > 0).to(torch.float32).unsqueeze(1)
