"""DDIM, both ways along one ladder of noise levels.

Song, Meng and Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, eq. 12 with sigma = 0. The inversion climbs the
levels that the sampling comes down, so that level n of one is level n of the other: 0 is the clean clip.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

Predict = Callable[[Tensor, int, int], Tensor]
"""Predicted noise for (latents [F, 4, h, w], timestep, step); steps are counted from 0 in the direction taken."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """timesteps [N + 1] of the levels, level 0 first; alphas float [N + 1], the signal's share of the variance there.

    Level 0 has the timestep below the first one, which is negative, and the alpha of timestep 0: the schedule of Stable
    Diffusion 1.x ("leading" spacing, offset 1, `set_alpha_to_one` off).
    """

    timesteps: tuple[int, ...]
    alphas: Tensor

    @classmethod
    def of(cls, alphas_cumprod: Tensor, steps: int) -> Self:
        """The ladder of `steps` steps for a model trained on `alphas_cumprod` [1000]."""
        spacing = len(alphas_cumprod) // steps
        timesteps = tuple(1 + spacing * (level - 1) for level in range(steps + 1))
        return cls(timesteps, alphas_cumprod[[max(0, timestep) for timestep in timesteps]])

    @property
    def steps(self) -> int:
        """N."""
        return len(self.timesteps) - 1

    def move(self, latents: Tensor, noise: Tensor, level: int, to: int) -> Tensor:
        """Latents at another level, the predicted noise being all there is."""
        here, there = self.alphas[level], self.alphas[to]
        clean = (latents - (1 - here).sqrt() * noise) / here.sqrt()
        return there.sqrt() * clean + (1 - there).sqrt() * noise


@torch.no_grad()
def inverted(
    predict: Predict, latents: Tensor, ladder: Ladder, *, first: int = 0, negative_first_timestep: bool = False
) -> Iterator[Tensor]:
    """Climb from level `first` to the noisiest: yields the latents at levels first + 1, first + 2, ...

    Args:
        predict: with guidance 1, which is to say none.
        latents: [F, 4, h, w] at level `first`; to resume, those yielded last.
        negative_first_timestep: the reference calls the U-Net at level 0's negative timestep; else it is called at 0.
    """
    for level in range(first, ladder.steps):
        timestep = ladder.timesteps[level]
        noise = predict(latents, timestep if negative_first_timestep else max(0, timestep), level)
        latents = ladder.move(latents, noise, level, level + 1)
        yield latents


@torch.no_grad()
def sampled(
    predict: Predict, latents: Tensor, ladder: Ladder, *, first: int = 0
) -> Generator[tuple[Tensor, Tensor], Tensor | None]:
    """Come down from the noisiest level: yields (latents after the step, the noise that was predicted) of each step.

    Args:
        predict: with guidance and residuals, see `guidance`.
        latents: [F, 4, h, w] before step `first`.

    What is sent back into the generator takes the place of the latents (blending); None keeps them.
    """
    for step in range(first, ladder.steps):
        level = ladder.steps - step
        noise = predict(latents, ladder.timesteps[level], step)
        latents = ladder.move(latents, noise, level, level - 1)
        replaced = yield latents, noise
        latents = latents if replaced is None else replaced
