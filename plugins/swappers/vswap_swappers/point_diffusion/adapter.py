"""The point adapter: turns what each point looks like into residuals for the levels of the U-Net.

Source: Gu et al., "VideoSwap" (CVPR 2024, arXiv 2312.02087), section 3.2; the residuals go where those of Mou et al.,
"T2I-Adapter" (arXiv 2302.08453) go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vswap_kernel.errors import InputError
from vswap_swappers.point_diffusion.splat import Splat


class LevelMLP(nn.Module):
    """Two layers with a SiLU between: [P, embedding channels] to [P, channels of one level]."""

    def __init__(self, embedding_channels: int, hidden_channels: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(embedding_channels, hidden_channels)
        self.output = nn.Linear(hidden_channels, channels)

    def forward(self, embeddings: Tensor) -> Tensor:
        features: Tensor = self.output(nn.functional.silu(self.hidden(embeddings)))
        return features


class PointAdapter(nn.Module):
    """One `LevelMLP` per level.

    Attributes:
        points: the names of the points it was registered for; empty when nobody noted them.
        space: the space of their embeddings, as in "dift:sd15:t261:up1"; empty when nobody noted it.
    """

    def __init__(
        self,
        embedding_channels: int,
        block_channels: Sequence[int],
        hidden_channels: int = 128,
        *,
        points: Sequence[str] = (),
        space: str = "",
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(LevelMLP(embedding_channels, hidden_channels, width) for width in block_channels)
        self.embedding_channels = embedding_channels
        self.hidden_channels = hidden_channels
        self.block_channels = tuple(block_channels)
        self.points = tuple(points)
        self.space = space

    def initialise(self, generator: torch.Generator) -> None:
        """Start afresh, with uniform weights and biases within 1/sqrt(inputs), drawn on the CPU."""
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    bound = 1 / math.sqrt(layer.in_features)
                    for parameter in (layer.weight, layer.bias):
                        parameter.copy_((torch.rand(parameter.shape, generator=generator) * 2 - 1) * bound)

    def forward(
        self, embeddings: Tensor, splats: Sequence[Splat], *, kept: Tensor | None = None, strength: float = 1.0
    ) -> list[Tensor]:
        """Residuals [F, C_l, h_l, w_l] of each level for embeddings [P, D].

        kept bool [P] leaves out the other points (see `chosen` and `undropped`); strength scales all residuals.
        """
        scale = embeddings.new_full((len(embeddings), 1), strength) if kept is None else kept[:, None] * strength
        scale = scale.to(embeddings.dtype)
        return [splat(level(embeddings) * scale) for level, splat in zip(self.levels, splats, strict=True)]

    def require(
        self, *, embedding_channels: int, block_channels: Sequence[int], points: Sequence[str] = (), space: str = ""
    ) -> None:
        """Refuse to be used with what it was not registered for.

        Raises:
            InputError: other embeddings, a U-Net of other widths, or a point that it has never seen.
        """
        if self.space and space and self.space != space:
            raise InputError(
                f"adapter: registered for embeddings {self.space!r}, these are {space!r}; register again with this "
                "embedder and backbone"
            )
        if self.embedding_channels != embedding_channels:
            raise InputError(
                f"adapter: registered for embeddings of {self.embedding_channels} channels, these have "
                f"{embedding_channels}; register again with this embedder"
            )
        if self.block_channels != tuple(block_channels):
            raise InputError(
                f"adapter: registered for a U-Net with blocks of {list(self.block_channels)} channels, this one has "
                f"{list(block_channels)}; use the backbone it was registered with"
            )
        unknown = [name for name in points if self.points and name not in self.points]
        if unknown:
            raise InputError(
                f"adapter: registered without the point {unknown[0]!r} (it knows {', '.join(self.points)}); "
                "register again with these points"
            )


def chosen(count: int, indices: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """bool [count], True at `indices`: a subset of the points."""
    kept = torch.zeros(count, dtype=torch.bool)
    kept[list(indices)] = True
    return kept.to(device)


def undropped(draws: Tensor, rate: float) -> Tensor:
    """bool [P]: the points kept by dropout at `rate`, from uniform draws [P] in 0..1."""
    return draws > rate
