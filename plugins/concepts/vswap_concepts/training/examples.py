"""Pictures as a training sees them: latents, the weight of each of their cells, captions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vswap_concepts.training.pictures import Picture
from vswap_kernel.protocols import Backbone


@dataclass(frozen=True, eq=False)
class Examples:
    """N pictures.

    Attributes:
        latents: float32 [N, 4, h, w], scaled: the mean of the VAE's posterior.
        mirrored: the same of the pictures mirrored, where that is asked for.
        weights: float32 [N, 1, h, w], with a mean of 1 in each picture, so that a small subject counts like a big one.
        captions: those that each picture may be shown with.
        digest: of the pictures, masks and captions that they were made of.
    """

    latents: Tensor
    mirrored: Tensor | None
    weights: Tensor
    captions: tuple[tuple[str, ...], ...]
    digest: str

    def __len__(self) -> int:
        return len(self.latents)

    def one(self, index: int, mirror: bool) -> tuple[Tensor, Tensor]:
        """Latents [4, h, w] and weights [1, h, w] of a picture, mirrored where that is asked for and possible."""
        if mirror and self.mirrored is not None:
            return self.mirrored[index], self.weights[index].flip(-1)
        return self.latents[index], self.weights[index]


def encoded(pictures: Sequence[Picture], backbone: Backbone, *, background: float, flip: bool = False) -> Examples:
    """The pictures encoded; `background` is the weight of a cell without any of the subject, where there is a mask."""
    frames = np.stack([picture.rgb for picture in pictures])
    latents = backbone.encode(frames)
    mirrored = backbone.encode(np.ascontiguousarray(frames[:, :, ::-1])) if flip else None
    size = (latents.shape[-2], latents.shape[-1])
    weights = torch.stack([_weights(picture, size, background) for picture in pictures]).to(latents.device)
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.rgb.tobytes() + b"/" + (b"" if picture.mask is None else picture.mask.tobytes()))
        digest.update("\n".join(picture.captions).encode())
    return Examples(latents, mirrored, weights, tuple(picture.captions for picture in pictures), digest.hexdigest())


def _weights(picture: Picture, size: tuple[int, int], background: float) -> Tensor:
    if picture.mask is None:
        return torch.ones(1, *size)
    share = interpolate(torch.from_numpy(picture.mask)[None, None].float() / 255, size, mode="area")[0]
    weights = background + (1 - background) * share
    return weights / weights.mean().clamp(min=1e-6)
