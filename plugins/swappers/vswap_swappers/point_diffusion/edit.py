"""The edit itself: from the prepared source to the latents of the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vswap_kernel.protocols import Backbone, Concept
from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.adapter_file import read_adapter
from vswap_swappers.point_diffusion.attention_injection import (
    InjectedGuidance,
    InjectionOptions,
    InvertedSource,
    injection_layers,
    reference_injection_layers,
)
from vswap_swappers.point_diffusion.ddim import Predict
from vswap_swappers.point_diffusion.guidance import Guidance, StepRange, text_pair
from vswap_swappers.point_diffusion.inversion import Inversion, WordAttention
from vswap_swappers.point_diffusion.job import DiffusionJob
from vswap_swappers.point_diffusion.latent_blend import BlendOptions, LatentBlend
from vswap_swappers.point_diffusion.preparation import ADAPTER
from vswap_swappers.point_diffusion.sampling import Target, sample
from vswap_swappers.point_diffusion.word_alignment import WordAlignment, aligned, prompt_tokens
from vswap_swappers.point_diffusion.word_attention import find_words


@dataclass(eq=False)
class HeldConcept:
    """A concept that is attached while the context is open, but for passes of the source's own."""

    concept: Concept
    backbone: Backbone
    _attached: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> None:
        self._attached.enter_context(self.concept.attach(self.backbone))

    def __exit__(self, *error: object) -> None:
        self._attached.close()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """The backbone as it was."""
        self._attached.close()
        try:
            yield
        finally:
            self.__enter__()


def edited_latents(work: DiffusionJob, inversion: Inversion, prepared: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [F, 4, h, w] of the result, and in which cells bool [F, h, w] the old and the new subject are."""
    backbone, (source, _, words) = work.backbone, work.job.prompt
    reference = work.options.reference_words
    old_words = find_words(backbone, Prompt(source), Prompt(words[0]), "source", reference_words=reference)
    attention = WordAttention(inversion.attention, old_words)
    blend = LatentBlend(inversion.levels, attention, _blend_options(work), _given_mask(work))
    source_text = backbone.embed_text(Prompt(source))
    held = HeldConcept(work.concept, backbone)
    with work.motion.attach(backbone), held:
        guidance, target, alignment = _guidance(work, prepared)
        before = InvertedSource(inversion.levels, _timesteps(work), source_text, attention)
        predict = _injected(work, guidance, before, alignment, held)
        latents = sample(backbone, predict, work.ladder, target, blend, work.context.scratch, work.context.progress)
    return latents, *blend.subjects(work.ladder.steps - 1)


def _blend_options(work: DiffusionJob) -> BlendOptions:
    options = work.options
    start = options.blend_start if options.latent_blend else 1.0
    return BlendOptions(options.blend_threshold, start, options.blend_end, options.blend_one_level_too_high)


def _given_mask(work: DiffusionJob) -> Tensor | None:
    masks = work.job.masks
    if masks is None or work.options.source_mask == "attention":
        return None
    return torch.cat([work.grid.cells_of(frames) for _, frames in masks.chunks()]).to(work.device)


def _guidance(work: DiffusionJob, prepared: Path) -> tuple[Guidance, Target, WordAlignment]:
    """What is followed, with the concept attached; where the new words are; how both prompts are aligned."""
    options, backbone, concept, (source, text, words) = work.options, work.backbone, work.concept, work.job.prompt
    prompt = concept.prompt(text)
    reference, tokenizer = options.reference_words, backbone.tokenizer
    new_words = find_words(backbone, prompt, concept.prompt(words[1]), "target", reference_words=reference)
    alignment = aligned(prompt_tokens(tokenizer, Prompt(source)), prompt_tokens(tokenizer, prompt, unbound=reference))
    texts = text_pair(backbone.embed_text(concept.prompt(options.negative_prompt)), backbone.embed_text(prompt))
    steps = StepRange(options.adapter_start, options.adapter_end, options.inclusive_ranges)
    guidance = Guidance(backbone, texts, options.guidance, options.steps, _residuals(work, prepared), steps)
    return guidance, Target(new_words, work.layers), alignment


@torch.no_grad()
def _residuals(work: DiffusionJob, prepared: Path) -> list[Tensor] | None:
    """The adapter's maps for where the points are asked to be; they wait on the CPU, as they grow with the clip."""
    targets, strength = work.job.targets, work.options.adapter_strength
    if strength == 0 or not (prepared / ADAPTER).exists():
        return None
    adapter = read_adapter(prepared / ADAPTER)
    return list(adapter(work.vectors(targets.names), work.splats(targets), strength=strength))


def _timesteps(work: DiffusionJob) -> list[int]:
    """At which each step of the inversion was predicted."""
    least = work.ladder.timesteps[0] if work.options.negative_first_timestep else 0
    return [max(least, timestep) for timestep in work.ladder.timesteps[:-1]]


def _injected(
    work: DiffusionJob, guidance: Guidance, before: InvertedSource, alignment: WordAlignment, held: HeldConcept
) -> Predict:
    options, layers = work.options, work.backbone.layers
    if options.cross_replace == options.self_replace == 0:
        return guidance
    reference = options.mask_layers == "reference"
    chosen = reference_injection_layers(layers, work.grid.cells) if reference else injection_layers(layers)
    how = InjectionOptions(
        options.cross_replace,
        options.self_replace,
        threshold=options.blend_threshold,
        reference_counts=options.inclusive_ranges,
    )
    return InjectedGuidance(guidance, before, alignment, chosen, how, held.lifted)
