"""The layered atlas of a clip: two layers, and which of them is in front at each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vswap_canonical.atlas import splines
from vswap_canonical.atlas.layer import Layer

_COARSER = 4
"""Pixels to one cell of what the opacity learns beside its masks."""
_LIGHT = 12
"""Pixels to one cell of the light, which is smooth."""


class Atlas(nn.Module):
    """A frame is opacity * subject + (1 - opacity) * background (Kasten et al., "Layered Neural Atlases for Consistent
    Video Editing", SIGGRAPH Asia 2021, eq. 1), and light: a smooth field of each frame's own, for shadows, reflections
    and exposure, which don't move with the things that they fall on (as Chan et al., "Hashing Neural Video
    Decomposition with Multiplicative Residuals in Space-Time", ICCV 2023; ours is added). Opacity is the masks' own,
    and a correction that is learned.

    Attributes:
        prior: float16 [T, h, w], logits of the masks.
        correction: float32 [T, 1, h / 4, w / 4], added to them.
        light: float32 [T, 3, h / 12, w / 12], added to the colours.
    """

    prior: Tensor

    def __init__(self, subject: Layer, background: Layer, prior: Tensor) -> None:
        super().__init__()
        self.subject, self.background = subject, background
        self.register_buffer("prior", prior)
        count, height, width = prior.shape
        self.correction = nn.Parameter(torch.zeros(count, 1, -(-height // _COARSER), -(-width // _COARSER)))
        self.light = nn.Parameter(torch.zeros(count, 3, -(-height // _LIGHT), -(-width // _LIGHT)))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.prior.shape[1], self.prior.shape[2]

    def every_row(self, frames: Tensor) -> Tensor:
        """[F, h]: all rows of F frames."""
        return torch.arange(self.size[0], device=frames.device).expand(len(frames), -1)

    def opacity(self, frames: Tensor, rows: Tensor) -> Tensor:
        """[F, R, w] in 0..1 of the rows [F, R] of the frames int64 [F]."""
        learned = self._interpolated(self.correction[frames], rows)[..., 0]
        return torch.sigmoid(self.prior[frames[:, None], rows].float() + learned)

    def light_of(self, frames: Tensor, rows: Tensor) -> Tensor:
        """[F, R, w, 3] of the rows [F, R] of the frames int64 [F]."""
        return self._interpolated(self.light[frames], rows)

    def _interpolated(self, cells: Tensor, rows: Tensor) -> Tensor:
        """Values [F, R, w, C], bilinear between cells [F, C, m, n] that span the whole frame."""
        height, width = self.size
        down = splines.linear_matrix((rows + 0.5) / height, cells.shape[2])
        across = splines.linear_matrix((torch.arange(width, device=rows.device) + 0.5) / width, cells.shape[3])
        return (down[:, None] @ cells @ across.T).movedim(1, -1)

    def opacity_at(self, frame: Tensor, xy: Tensor) -> Tensor:
        """[N] at the places xy [N, 2] of the frames int64 [N], of the nearest pixel; 0 outside the frame."""
        size = torch.tensor(self.size[::-1], device=xy.device)
        pixel = xy.round().long()
        inside = ((pixel >= 0) & (pixel < size)).all(1)
        x, y = pixel.minimum(size - 1).clamp(min=0).unbind(1)
        cells = self.correction[:, 0]
        (left, at_left), (above, at_above) = (
            splines.linear_weights((place + 0.5) / extent, count)
            for place, extent, count in ((x, size[0], cells.shape[2]), (y, size[1], cells.shape[1]))
        )
        learned = torch.zeros(len(xy), device=xy.device)
        for down in range(at_above.shape[1]):
            for across in range(at_left.shape[1]):
                learned = learned + at_above[:, down] * at_left[:, across] * cells[frame, above + down, left + across]
        return torch.sigmoid(self.prior[frame, y, x].float() + learned) * inside

    @torch.no_grad()
    def render(self, frame: int) -> tuple[Tensor, Tensor]:
        """(the frame's colours [h, w, 3] in 0..1, its opacity [h, w])."""
        one = torch.tensor([frame], device=self.prior.device)
        rows, columns = self.every_row(one), torch.arange(self.size[1], device=one.device)
        opacity = self.opacity(one, rows)[0, ..., None]
        behind = self.background.colours(self.background.uv_of_rows(one, rows, columns)[0])
        before = self.subject.colours(self.subject.uv_of_rows(one, rows, columns)[0])
        colours = opacity * before + (1 - opacity) * behind + self.light_of(one, rows)[0]
        return colours.clamp(0, 1), opacity[..., 0]
