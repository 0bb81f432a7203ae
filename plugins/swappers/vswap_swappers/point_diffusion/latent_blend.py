"""Latent blending: outside the old and the new subject, the latents are the source's (Hertz et al., "Prompt-to-Prompt
Image Editing with Cross Attention Control", 2022, section 3.2; per frame, with the masks of both).

A mask comes from the cross-attention of the subject's words: mean over heads and layers, widened by one cell, scaled to
the latents, over its largest value in the frame, cut at a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d


def soft_mask(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a word is, [F, H, W] in 0..1, from its attention [F, h, w]; `size` is (H, W). 0 in a frame without any."""
    wide = interpolate(max_pool2d(attention[:, None], 3, stride=1, padding=1), size=size)[:, 0]
    return wide / wide.amax((1, 2), keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)


@dataclass(frozen=True)
class BlendOptions:
    """threshold of the masks. The steps blended are those after `start` and, if `end` isn't None, before it: shares of
    all steps. one_level_too_high: the reference's slip, which blends each step with the inverted latents of the step
    before."""

    threshold: float = 0.3
    start: float = 0.0
    end: float | None = None
    one_level_too_high: bool = False

    def __call__(self, step: int, steps: int) -> bool:
        """Whether a step, counted from 0, is blended."""
        return int(self.start * steps) < step + 1 and (self.end is None or step + 1 < int(self.end * steps))


@dataclass(eq=False)
class LatentBlend:
    """Blends one sampling with the inversion of its source.

    Attributes:
        levels: the inverted latents [F, 4, h, w] at levels 0 (clean) to N.
        source: attention [F, h, w] of the source's words, in each of the N steps of the inversion.
        options: how.
        given: bool [F, h, w], where the old subject is, if that is known better than by attention.
        target_sum: attention [F, h, w] of the target's words, summed over the steps so far.
    """

    levels: Sequence[Tensor]
    source: Sequence[Tensor]
    options: BlendOptions
    given: Tensor | None = None
    target_sum: Tensor | None = field(default=None, init=False)

    def masks(self, step: int, target: Tensor) -> tuple[Tensor, Tensor]:
        """(source's, source's or target's) bool [F, h, w] after a step; call it once for each, in order.

        target: attention [F, h, w] of the target's words in this step. Its mask is that of the sum over steps so far,
        which is steadier; the source's is that of the one step at the same timestep.
        """
        self.target_sum = target if self.target_sum is None else self.target_sum + target
        old, new = self.subjects(step)
        return old, old | new

    @cached_property
    def _cells(self) -> tuple[int, int]:
        shape = self.levels[0].shape  # the levels may be files: they are not read at each step for their shape
        return shape[-2], shape[-1]

    def subjects(self, step: int) -> tuple[Tensor, Tensor]:
        """(the old one's, the new one's) mask bool [F, h, w] after the step that `masks` was last called for."""
        assert self.target_sum is not None, "call masks() first"
        size = self._cells
        new = soft_mask(self.target_sum, size) > self.options.threshold
        if self.given is not None:
            return self.given, new
        return soft_mask(self.source[len(self.source) - 1 - step], size) > self.options.threshold, new

    def __call__(self, step: int, latents: Tensor, target: Tensor) -> Tensor:
        """The latents [F, 4, h, w] after a step, the source's outside the masks where this step is blended."""
        steps = len(self.source)
        _, inside = self.masks(step, target)
        if not self.options(step, steps):
            return latents
        level = steps - 1 - step + int(self.options.one_level_too_high)
        return torch.where(inside[:, None], latents, self.levels[level])
