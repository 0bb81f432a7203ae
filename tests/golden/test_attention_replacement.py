"""The recorded edits that replace attention: word alignment, masks, and latents."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.attention_injection import (
    InjectedGuidance,
    InjectionOptions,
    InvertedSource,
    reference_injection_layers,
)
from vswap_swappers.point_diffusion.word_alignment import WordAlignment, aligned, prompt_tokens

from .edits import Edit, follow_blending

EDITS = "injected"


def alignment_of(edit: Edit) -> WordAlignment:
    tokenizer = edit.group.backbone.tokenizer
    source, target = Prompt(edit.group.config["prompt"]), edit.prompt(edit.call["prompt"])
    return aligned(*(prompt_tokens(tokenizer, prompt, unbound=True) for prompt in (source, target)))


def options_of(edit: Edit) -> InjectionOptions:
    config = edit.swap["blend_cfg"]
    return InjectionOptions(
        config.get("cross_replace_steps", 0.0),
        config.get("self_replace_steps", 0.0),
        threshold=config["blend_th"],
        reference_counts=True,
    )


def injected_guidance(edit: Edit) -> InjectedGuidance:
    group = edit.group
    source = InvertedSource(group.levels, group.ladder.timesteps[:-1], group.text, edit.source())
    least = group.notes["attention_threshold_pixels"]
    layers = reference_injection_layers(group.backbone.layers, group.cells, least)
    options, alignment = options_of(edit), alignment_of(edit)
    return InjectedGuidance(edit.guidance(), source, alignment, layers, options, edit.lifted)


def test_words_are_aligned_and_scheduled_as_recorded(edit: Edit) -> None:
    recorded, steps, alignment = edit.tensors, edit.group.ladder.steps, alignment_of(edit)
    assert torch.equal(alignment.mapper, recorded["refine_mapper"].flatten())
    assert torch.equal(alignment.alphas, recorded["refine_alphas"].flatten())
    assert torch.equal(options_of(edit).cross_steps(steps), recorded["cross_replace_alpha"])
    assert [0, options_of(edit).self_steps(steps)] == edit.notes["self_replace_steps_range"]
    assert [edit.old_words(), edit.new_words()] == [
        words.nonzero().flatten().tolist() for words in recorded["alpha_words"]
    ]


def test_self_attention_is_replaced_outside_the_recorded_masks(edit: Edit) -> None:
    group, predict = edit.group, injected_guidance(edit)
    steps, ends = group.ladder.steps, predict.options.self_steps(group.ladder.steps)
    strides = [group.backbone.layers[layer].stride for layer in predict.layers]
    calls = [(steps - 1 - step, stride) for step in range(ends) for stride in strides]
    assert len(calls) == edit.notes["attention_blend_calls"]
    recorded = {name: mask for name, mask in edit.tensors.items() if name.startswith("attention_blend_mask_call")}
    assert bool(recorded) == bool(calls)
    for name, mask in recorded.items():
        there, stride = calls[int(name.removeprefix("attention_blend_mask_call"))]
        inside = predict.inside(there, group.levels[there], [stride])[stride]
        assert torch.equal(inside, mask.bool().flatten(0, 1).flatten(1)), name


def test_masks_are_exact_and_latents_agree_with_attention_replaced(edit: Edit) -> None:
    follow_blending(edit, injected_guidance(edit), edit.attached())
