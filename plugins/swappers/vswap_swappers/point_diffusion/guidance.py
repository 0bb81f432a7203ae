"""The noise that a swap follows: classifier-free guidance, and the adapter's residuals while they are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vswap_kernel.protocols import Backbone


@dataclass(frozen=True)
class StepRange:
    """The steps from `start` to `end`, shares of all steps in 0..1. The reference's ranges include their end: 10 steps
    and 0.5 are then 6 steps, not 5."""

    start: float = 0.0
    end: float = 0.5
    inclusive: bool = False

    def __call__(self, step: int, steps: int) -> bool:
        """Whether a step, counted from 0, is among them."""
        after = step <= steps * self.end if self.inclusive else step < steps * self.end
        return steps * self.start <= step and after


def text_pair(negative: Tensor, prompt: Tensor) -> Tensor:
    """Both embeddings for one pass: [2, 77, C], or [layers, 2, 77, C] where one of them differs from layer to layer.

    Args:
        negative, prompt: [1, 77, C] or [layers, 77, C] each.
    """
    layers = max(len(negative), len(prompt))
    both = torch.stack([text.expand(layers, -1, -1) for text in (negative, prompt)], 1)
    return both if layers > 1 else both[0]


@dataclass(frozen=True, eq=False)
class Guidance:
    """Predicts by the backbone, in both halves with the same residuals (Ho and Salimans, "Classifier-Free Diffusion
    Guidance", 2021).

    Attributes:
        text: of `text_pair`.
        scale: of guidance; 1 is the prompt alone.
        steps: of the whole sampling.
        residuals: of each level [F, C, h, w], their strength in them; given in the steps of `residual_steps`.
    """

    backbone: Backbone
    text: Tensor
    scale: float
    steps: int
    residuals: Sequence[Tensor] | None = None
    residual_steps: StepRange = StepRange()

    def __call__(self, latents: Tensor, timestep: int, step: int) -> Tensor:
        """Noise [F, 4, h, w] for latents [F, 4, h, w]."""
        residuals = self.residuals if self.residual_steps(step, self.steps) else None
        if self.scale == 1:  # the negative half would cancel out
            prompt = self.text[..., 1:, :, :]
            return self.backbone.predict(latents, timestep, prompt, frames=len(latents), residuals=residuals)
        both = torch.cat([latents, latents])
        noise = self.backbone.predict(both, timestep, self.text, frames=len(latents), residuals=residuals)
        without, with_prompt = noise.chunk(2)
        return without + self.scale * (with_prompt - without)
