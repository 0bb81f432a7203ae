"""The pictures of an atlas from the frames: every pixel is laid down where its map says, and the mean is kept."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vswap_canonical.atlas.layer import Layer
from vswap_canonical.atlas.model import Atlas
from vswap_kernel.types import ByteArray

_OUTLIERS = 0.002
"""Share of the pixels at each end whose (u, v) don't count for the extent of a picture."""
_MARGIN = 4.0
_LARGEST = 4096
"""Texels along one side."""
_FILLING = 1e-2


@torch.no_grad()
def paint(atlas: Atlas, frames: ByteArray, texels: tuple[float, float]) -> None:
    """Make both pictures anew, as large as what lies on them; with `texels` of (subject, background) to a pixel of the
    reference frame."""
    for layer, in_front, wanted in ((atlas.subject, True, texels[0]), (atlas.background, False, texels[1])):
        low, high = _extent(layer, atlas, in_front)
        layer.texels.fill_(min(wanted, _LARGEST / float((high - low).max())))
        layer.origin.copy_(low)
        width, height = ((high - low) * layer.texels).ceil().long().clamp(min=2).tolist()
        layer.picture.data = _mean_colours(layer, atlas, frames, in_front, (height, width))


def _shares(atlas: Atlas, frame: int, in_front: bool) -> Tensor:
    """[h * w]: how much each pixel of the frame tells of the layer: mixed colours at edges tell little."""
    one = torch.tensor([frame])
    opacity = atlas.opacity(one, atlas.every_row(one))[0].flatten()
    return (opacity if in_front else 1 - opacity).square()


def _places(layer: Layer, atlas: Atlas, frame: int) -> Tensor:
    one = torch.tensor([frame])
    return layer.uv_of_rows(one, atlas.every_row(one), torch.arange(atlas.size[1])).reshape(-1, 2)


def _extent(layer: Layer, atlas: Atlas, in_front: bool) -> tuple[Tensor, Tensor]:
    """The least and the greatest (u, v) of the layer's pixels in any frame."""
    ends = []
    for frame in range(len(atlas.prior)):
        uv = _places(layer, atlas, frame)[_shares(atlas, frame, in_front) > 0.25]
        if len(uv):
            ends.append(
                torch.quantile(uv[:: max(1, len(uv) // 20000)], torch.tensor([_OUTLIERS, 1 - _OUTLIERS]), dim=0)
            )
    if not ends:
        return torch.zeros(2), torch.full((2,), 2 * _MARGIN)
    low, high = torch.stack(ends).unbind(1)
    return low.amin(0) - _MARGIN, high.amax(0) + _MARGIN


def _mean_colours(layer: Layer, atlas: Atlas, frames: ByteArray, in_front: bool, size: tuple[int, int]) -> Tensor:
    """The picture [1, 3, h, w] of the given size."""
    total = torch.zeros(size[0] * size[1], 4)
    for frame, colours in enumerate(frames):
        share = _shares(atlas, frame, in_front)
        kept = share > 1e-3
        colour = torch.from_numpy(colours).reshape(-1, 3)[kept] / 255
        value = torch.cat([colour, torch.ones(len(colour), 1)], 1) * share[kept, None]
        _lay_down(total, value, (_places(layer, atlas, frame)[kept] - layer.origin) * layer.texels, size)
    return filled(total.view(*size, 4).permute(2, 0, 1)[None])


def _lay_down(total: Tensor, value: Tensor, place: Tensor, size: tuple[int, int]) -> None:
    """Add values [N, C] to the picture total [h * w, C], each to the four texels around its place [N, 2]."""
    corner = place.floor()
    part = place - corner
    for right in (0, 1):
        for below in (0, 1):
            weight = (part[:, 0] if right else 1 - part[:, 0]) * (part[:, 1] if below else 1 - part[:, 1])
            x, y = (corner + torch.tensor([right, below])).long().unbind(1)
            inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
            total.index_add_(0, (y * size[1] + x)[inside], (value * weight[:, None])[inside])


def filled(total: Tensor) -> Tensor:
    """Colours [1, 3, h, w] of sums and weights [1, 4, h, w]; what has little weight takes after its surroundings, ever
    wider ones (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4: pull and push)."""
    levels = [total]
    while min(levels[-1].shape[2:]) > 1:
        levels.append(functional.avg_pool2d(levels[-1], 2, ceil_mode=True))
    known = levels[-1]
    for level in reversed(levels[:-1]):
        wider = functional.interpolate(known, level.shape[2:], mode="bilinear", align_corners=False)
        known = level + _FILLING * wider / wider[:, 3:].clamp_min(1e-8)
    return (known[:, :3] / known[:, 3:].clamp_min(1e-8)).contiguous()
