"""Reading feature maps at points, and what is made of the features of one point over the frames. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def sample_features(maps: Tensor, xy: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear samples [N, P, C] of maps [N, C, h, w] at xy [N, P, 2], pixels of a frame of `size` (width, height).

    Exactly what reading a pixel of the map enlarged to the frame gives (bilinear, corners not aligned: a cell covers
    W / w pixels, the pixel x lies at cell (x + 0.5) w / W - 0.5), without the enlarged map. Beyond the outermost cell
    centres the outermost cells hold.
    """
    height, width = maps.shape[-2:]
    limit = torch.tensor([width - 1, height - 1], device=maps.device)
    scale = torch.tensor([width / size[0], height / size[1]], dtype=torch.float32, device=maps.device)
    place = ((xy.to(scale) + 0.5) * scale - 0.5).clamp(min=torch.zeros_like(scale), max=limit.to(scale))
    low = place.long()
    high = torch.minimum(low + 1, limit)
    weight = (place - low).to(maps.dtype)
    right, down = weight[..., :1], weight[..., 1:]
    batch = torch.arange(len(maps), device=maps.device)[:, None]

    def cells(x: Tensor, y: Tensor) -> Tensor:
        return maps[batch, :, y[..., 1], x[..., 0]]

    top = cells(low, low) * (1 - right) + cells(high, low) * right
    bottom = cells(low, high) * (1 - right) + cells(high, high) * right
    return top * (1 - down) + bottom * down


def inside_frame(xy: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether points xy [..., 2] lie on a pixel of a frame of `size` (width, height): bool [...]."""
    limit = torch.tensor(size, dtype=torch.float32, device=xy.device) - 0.5
    return ((xy >= -0.5) & (xy < limit)).all(-1)


def wrapped_pixels(xy: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the reference reads for xy [..., 2], and whether it reads there: (pixels [..., 2], bool [...]).

    It rounds to whole pixels, half to even, and leaves out what is then beyond the right or lower edge; negative pixels
    count from the opposite edge (oddity 14 of the recordings).
    """
    extent = torch.tensor(size, dtype=torch.float32, device=xy.device)
    pixels = xy.round()
    return pixels.remainder(extent), (pixels < extent).all(-1)


def similarity_to_keyframe(vectors: Tensor, keyframe: Tensor) -> Tensor:
    """Cosine [F, P] between the features [F, P, C] of each point and its own on frame keyframe [P]."""
    points = torch.arange(vectors.shape[1], device=vectors.device)
    return cosine_similarity(vectors, vectors[keyframe, points][None], dim=-1)


def mean_embedding(vectors: Tensor, keep: Tensor, keyframe: Tensor) -> Tensor:
    """Mean [P, C] of the features [F, P, C] over the frames kept, bool [F, P] (method, step 1.4).

    A point that is kept in no frame has the feature of its keyframe [P].
    """
    weight = keep.to(vectors.dtype)
    total = torch.einsum("fpc,fp->pc", vectors, weight)
    own = vectors[keyframe, torch.arange(vectors.shape[1], device=vectors.device)]
    return torch.where(keep.any(0)[:, None], total / weight.sum(0).clamp(min=1)[:, None], own)
