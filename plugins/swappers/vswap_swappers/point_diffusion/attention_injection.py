"""Attention injection: in the first steps of a swap, some attention is the source's.

Cross-attention to the words that both prompts have keeps the layout (Hertz et al., "Prompt-to-Prompt Image Editing with
Cross Attention Control", 2022); self-attention outside the old subject keeps the background (Qi et al., "FateZero:
Fusing Attentions for Zero-shot Text-based Video Editing", ICCV 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import Tensor

from vswap_kernel.protocols import CrossAttentionLayer
from vswap_swappers.point_diffusion.guidance import Guidance
from vswap_swappers.point_diffusion.latent_blend import soft_mask
from vswap_swappers.point_diffusion.source_attention import (
    Change,
    cross_replaced,
    injected,
    self_attention,
    self_replaced,
    source_attention,
)
from vswap_swappers.point_diffusion.word_alignment import WordAlignment, replace_schedule
from vswap_swappers.point_diffusion.word_attention import REFERENCE_LEAST, layers_of_few_queries


def injection_layers(layers: Sequence[CrossAttentionLayer]) -> list[int]:
    """The layers that are injected, at any resolution: those whose cells are at least 4 latent cells wide."""
    return [index for index, layer in enumerate(layers) if layer.stride >= 4]


def reference_injection_layers(
    layers: Sequence[CrossAttentionLayer], size: tuple[int, int], least: int = REFERENCE_LEAST
) -> list[int]:
    """The layers that the reference injects: with fewer than `least` queries; `size` is (height, width) of latents."""
    return layers_of_few_queries(layers, size, least)


@dataclass(frozen=True)
class InjectionOptions:
    """cross_replace, self_replace: shares of all steps, exclusive, from the first one. words: shares of their own for
    token positions of the target prompt. threshold of the mask outside which self-attention is replaced.
    reference_counts: the reference's steps: shares of N steps rounded down, for cross-attention of N + 1."""

    cross_replace: float = 0.5
    self_replace: float = 0.5
    words: Mapping[int, float] = field(default_factory=dict)
    threshold: float = 0.3
    reference_counts: bool = False

    def self_steps(self, steps: int) -> int:
        """How many steps have their self-attention replaced."""
        return (math.floor if self.reference_counts else math.ceil)(steps * self.self_replace)

    def cross_steps(self, steps: int) -> Tensor:
        """By step and token, whether cross-attention is replaced; see `replace_schedule`."""
        return replace_schedule(steps, self.cross_replace, self.words, reference_counts=self.reference_counts)


@dataclass(frozen=True, eq=False)
class InvertedSource:
    """The inversion that a swap starts from.

    Attributes:
        levels: the inverted latents [F, 4, h, w] at levels 0 (clean) to N; only those below N are read.
        timesteps: of each of the N steps of the inversion.
        text: of the source prompt, [1, 77, C].
        attention: [F, h', w'] of the source's words in each of the N steps, as in `LatentBlend`.
    """

    levels: Sequence[Tensor]
    timesteps: Sequence[int]
    text: Tensor
    attention: Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class InjectedGuidance:
    """Predicts as `guidance` does, with the source's attention in the prompt's half in the first steps.

    Attributes:
        layers: numbers of the cross-attention layers that are injected, with the self-attentions beside them.
        without_concept: opened around each pass of the source, which runs without the concept that is attached.
    """

    guidance: Guidance
    source: InvertedSource
    alignment: WordAlignment
    layers: Sequence[int]
    options: InjectionOptions = InjectionOptions()
    without_concept: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, latents: Tensor, timestep: int, step: int) -> Tensor:
        """Noise [F, 4, h, w] for latents [F, 4, h, w]."""
        with injected(self.guidance.backbone, self._changes(step)):
            return self.guidance(latents, timestep, step)

    def _changes(self, step: int) -> dict[str, Change]:
        backbone, steps = self.guidance.backbone, self.guidance.steps
        weight = self.options.cross_steps(steps)[step] * self.alignment.alphas
        layers = [backbone.layers[index] for index in self.layers]
        cross = [layer.path for layer in layers] if bool(weight.any()) else []
        own = {self_attention(layer.path): layer.stride for layer in layers}
        if step >= self.options.self_steps(steps):
            own = {}
        if not cross and not own:
            return {}
        there = steps - 1 - step
        latents, moment = self.source.levels[there], self.source.timesteps[there]
        with self.without_concept():
            source = source_attention(backbone, [*cross, *own], latents, moment, self.source.text)
        changes = {path: cross_replaced(source, path, self.alignment.mapper, weight) for path in cross}
        inside = self.inside(there, latents, set(own.values()))
        return changes | {path: self_replaced(source, path, inside[stride]) for path, stride in own.items()}

    def inside(self, there: int, latents: Tensor, strides: Collection[int]) -> dict[int, Tensor]:
        """Where the old subject is in step `there` of the inversion, at the strides of layers: bool [F, queries]."""
        if not strides:
            return {}
        height, width = latents.shape[-2:]
        sizes = {stride: (-(-height // stride), -(-width // stride)) for stride in strides}
        attention, least = self.source.attention[there], self.options.threshold
        return {stride: soft_mask(attention, size).flatten(1) > least for stride, size in sizes.items()}
