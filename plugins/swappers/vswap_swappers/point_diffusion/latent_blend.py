"""Latent blending: outside the old and the new subject, the latents are the source's (Hertz et al., "Prompt-to-Prompt
Image Editing with Cross Attention Control", 2022, section 3.2; per frame, with the masks of both).

A mask comes from the cross-attention of the subject's words: mean over heads and layers, widened by one cell, scaled to
the latents, over its largest value in the frame, cut at a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from vswap_kernel.protocols import Backbone, CrossAttentionLayer
from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.word_alignment import prompt_tokens

REFERENCE_LEAST = 32 * 32
"""Queries: the reference neither keeps nor replaces maps of so many or more."""


def mask_layers(layers: Sequence[CrossAttentionLayer]) -> list[int]:
    """The layers that tell where a word is, at any resolution: those whose cells are 4 latent cells wide (1/32 of the
    picture), in the down and the up part."""
    return [index for index, layer in enumerate(layers) if layer.stride == 4]


def layers_of_few_queries(layers: Sequence[CrossAttentionLayer], size: tuple[int, int], least: int) -> list[int]:
    """The layers with fewer than `least` queries for latents of `size` (height, width)."""
    return [i for i, layer in enumerate(layers) if -(-size[0] // layer.stride) * -(-size[1] // layer.stride) < least]


def reference_mask_layers(
    layers: Sequence[CrossAttentionLayer], size: tuple[int, int], least: int = REFERENCE_LEAST
) -> list[int]:
    """The layers that the reference takes: of those with fewer than `least` queries, the third and the fourth of the
    down part and the first three of the up part. `size` is (height, width) of the latents."""
    few = layers_of_few_queries(layers, size, least)
    parts = {part: [index for index in few if layers[index].part == part] for part in ("down", "up")}
    return parts["down"][2:4] + parts["up"][:3]


def soft_mask(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a word is, [F, H, W] in 0..1, from its attention [F, h, w]; `size` is (H, W). 0 in a frame without any."""
    wide = interpolate(max_pool2d(attention[:, None], 3, stride=1, padding=1), size=size)[:, 0]
    return wide / wide.amax((1, 2), keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)


def word_attention(maps: Sequence[Tensor], clip: int) -> Tensor:
    """Attention [F, h, w] of all words together, from what `Backbone.capture_attention` gives for each layer:
    [B, F, tokens, h, w], of one size; `clip` is the one of the batch."""
    return torch.stack([layer[clip] for layer in maps]).mean(0).sum(1)


def word_positions(backbone: Backbone, text: str | Prompt, words: str | Prompt) -> list[int]:
    """The token positions (0..76) at which `words` stand in `text`, first occurrence; empty if they don't. Prompts of a
    concept are read as its first layer reads them, while the concept is attached."""
    whole, part = (
        prompt_tokens(backbone.tokenizer, Prompt(prompt) if isinstance(prompt, str) else prompt)
        for prompt in (text, words)
    )
    part = part[1:-1]
    starts = [start for start in range(len(whole) - len(part) + 1) if whole[start : start + len(part)] == part]
    return list(range(starts[0], starts[0] + len(part))) if starts and part else []


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

    def subjects(self, step: int) -> tuple[Tensor, Tensor]:
        """(the old one's, the new one's) mask bool [F, h, w] after the step that `masks` was last called for."""
        assert self.target_sum is not None, "call masks() first"
        size = (self.levels[0].shape[-2], self.levels[0].shape[-1])
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
