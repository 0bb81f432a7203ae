"""The random choices of a registration, each drawn from its own counter.

A generator whose state runs on from step to step would have to be kept with each checkpoint; here a step's choices
depend on nothing but the seed, the step's number and what they are for. They are drawn on the CPU, so that every device
sees the same ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """What a registration step leaves to chance."""

    def timestep(self, step: int, /) -> float:
        """Uniform in 0..1."""
        ...

    def place(self, step: int, /) -> float:
        """Uniform in 0..1: where in the clip the frames of this step are, when it does not take all."""
        ...

    def points(self, step: int, count: int, /) -> Tensor:
        """Uniform in 0..1, [count]: one per point, for dropout."""
        ...

    def noise(self, step: int, shape: tuple[int, ...], /) -> Tensor:
        """Normal, float32: the noise that the U-Net is to predict."""
        ...

    def latent_noise(self, step: int, shape: tuple[int, ...], /) -> Tensor:
        """Normal, float32: the noise of the VAE's posterior."""
        ...


@dataclass(frozen=True)
class SeededDraws:
    """`Draws` from one seed."""

    seed: int

    def generator(self, purpose: str, step: int = 0) -> torch.Generator:
        """A fresh CPU generator for one purpose at one step."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{step}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def timestep(self, step: int, /) -> float:
        return self._uniform("timestep", step)

    def place(self, step: int, /) -> float:
        return self._uniform("place", step)

    def points(self, step: int, count: int, /) -> Tensor:
        return torch.rand(count, generator=self.generator("points", step))

    def noise(self, step: int, shape: tuple[int, ...], /) -> Tensor:
        return torch.randn(shape, generator=self.generator("noise", step))

    def latent_noise(self, step: int, shape: tuple[int, ...], /) -> Tensor:
        return torch.randn(shape, generator=self.generator("latent noise", step))

    def _uniform(self, purpose: str, step: int) -> float:
        return float(torch.rand((), generator=self.generator(purpose, step), dtype=torch.float64))
