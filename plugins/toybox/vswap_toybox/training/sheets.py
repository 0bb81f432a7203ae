"""Contact sheets of pictures and clips in 0..1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vswap_kernel.types import ByteArray

_GAP = 2


def sheet(rows: Sequence[Tensor], *, enlarge: int = 2) -> ByteArray:
    """uint8 [H, W, 3] of rows [K, 3, h, w] in 0..1; a shorter row ends in white."""
    lines = []
    for row in rows:
        pixels = (row.detach().float().clamp(0, 1) * 255).round().byte().cpu().numpy().transpose(0, 2, 3, 1)
        pixels = pixels.repeat(enlarge, 1).repeat(enlarge, 2)
        framed = np.pad(pixels, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
        lines.append(np.concatenate(list(framed), 1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    made: ByteArray = np.concatenate(padded)
    return made


def spread_frames(clips: Tensor, count: int) -> Tensor:
    """`count` frames of each of clips [N, T, 3, h, w], spread evenly over it; all where it has no more."""
    frames = clips.shape[1]
    return clips[:, torch.linspace(0, frames - 1, min(count, frames)).round().long()]
