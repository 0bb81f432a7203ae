"""The random choices of a training.

Each depends on nothing but the seed, what it is for and the number of the step, so that a resumed training makes the
same ones. They are drawn on the CPU, so that every device sees the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """All of them, from one seed."""

    seed: int

    def generator(self, purpose: str, number: int = 0) -> torch.Generator:
        """A fresh CPU generator."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{number}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def turn(self, purpose: str, number: int, total: int) -> int:
        """Whose turn it is, of `total`: all have one before any has the next, in an order that is new each round."""
        order = torch.randperm(total, generator=self.generator(purpose, number // total))
        return int(order[number % total])

    def chances(self, purpose: str, step: int, count: int) -> list[float]:
        """Uniform in 0..1, `count` of them."""
        drawn: list[float] = torch.rand(count, generator=self.generator(purpose, step), dtype=torch.float64).tolist()
        return drawn

    def timesteps(self, step: int, count: int, total: int) -> Tensor:
        """int64 [count] in 0..total - 1: one from each of `count` equal parts, which steadies the loss; mixed."""
        generator = self.generator("timesteps", step)
        within = torch.rand(count, generator=generator, dtype=torch.float64)
        spread = ((torch.arange(count) + within) / count * total).long().clamp(max=total - 1)
        return spread[torch.randperm(count, generator=generator)]

    def noise(self, step: int, shape: tuple[int, ...]) -> Tensor:
        """Normal, float32: what the U-Net is to predict."""
        return torch.randn(shape, generator=self.generator("noise", step))
