"""What is read from, and put into, the U-Net's attention probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .naive_parts import soft_mask


@dataclass
class Inversion:
    """levels: latents [F, 4, h, w] from clean to noisiest; first_noise: the first prediction; probabilities: by step
    and path, [F, heads, queries, keys] of the small layers."""

    levels: list[Tensor]
    first_noise: Tensor
    probabilities: list[dict[str, Tensor]]


@dataclass
class Keep:
    """Keeps the probabilities of layers with fewer than `least` queries."""

    least: int
    found: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, path: str, probabilities: Tensor) -> Tensor:
        if probabilities.shape[2] < self.least:
            self.found[path] = probabilities
        return probabilities


def of_words(found: Mapping[str, Tensor], words: Sequence[int], cells: tuple[int, int]) -> Tensor:
    """Attention [F, h, w] to the words in the layers that masks come from: of the small ones, in the order in which a
    pass meets them, the third and fourth of the down part and the first three of the up part."""
    cross = [path for path in found if path.endswith("attn2")]
    down = [path for path in cross if path.startswith("down")][2:4]
    up = [path for path in cross if path.startswith("up")][:3]
    maps = []
    for path in [*down, *up]:
        heads_mean = found[path].mean(1)
        one = sum(heads_mean[..., word] for word in words)
        assert isinstance(one, Tensor)
        maps.append(one.unflatten(-1, grid(one.shape[-1], cells)))
    return torch.stack(maps).mean(0)


def grid(queries: int, cells: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of a layer, by its number of queries."""
    found = [(cells[0] // s, cells[1] // s) for s in (1, 2, 4, 8) if cells[0] // s * (cells[1] // s) == queries]
    (only,) = found
    return only


@dataclass
class Replace:
    """Keeps the prompt's half of the small layers' probabilities, and replaces some of it by the source's.

    Attributes:
        source: by path, the source's probabilities in this step; None: nothing is replaced.
        mapper, share: of cross-attention, for each target token; a share of 0 keeps the edit's.
        attention: [F, h, w] of the source's words, for self-attention; None: it is left alone.
        masks: of each self-attention replaced, in order: where the edit's own is kept, bool [F, rows, columns].
        margin: the smallest distance of a soft mask from the threshold.
    """

    least: int
    frames: int
    cells: tuple[int, int]
    source: Mapping[str, Tensor] | None = None
    mapper: Tensor | None = None
    share: Tensor | None = None
    attention: Tensor | None = None
    threshold: float = 0.0
    found: dict[str, Tensor] = field(default_factory=dict)
    masks: list[Tensor] = field(default_factory=list)
    margin: float = 1.0

    def __call__(self, path: str, probabilities: Tensor) -> Tensor:
        if probabilities.shape[2] >= self.least:
            return probabilities
        own = probabilities[self.frames :]
        if self.source is not None:
            own = self.cross(path, own) if path.endswith("attn2") else self.itself(path, own)
        self.found[path] = own
        return torch.cat([probabilities[: self.frames], own])

    def cross(self, path: str, own: Tensor) -> Tensor:
        assert self.source is not None
        assert self.mapper is not None
        assert self.share is not None
        mixed = own.clone()
        for token, (place, share) in enumerate(zip(self.mapper.tolist(), self.share.tolist(), strict=True)):
            if share:
                mixed[..., token] = share * self.source[path][..., place] + (1 - share) * own[..., token]
        return mixed

    def itself(self, path: str, own: Tensor) -> Tensor:
        if self.attention is None:
            return own
        assert self.source is not None
        soft = soft_mask(self.attention, *grid(own.shape[2], self.cells))
        self.margin = min(self.margin, float((soft - self.threshold).abs().min()))
        self.masks.append(soft > self.threshold)
        inside = self.masks[-1].flatten(1)[:, None, :, None]
        return torch.where(inside, own, self.source[path])
