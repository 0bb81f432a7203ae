"""Token ids, text embeddings and merged weights, against the recorded ones."""

from __future__ import annotations

from typing import Any

import pytest

from vswap_kernel.types import Prompt

torch = pytest.importorskip("torch")

TOLERANCE = 2e-5


def swapped(golden_config: Any, key: str) -> str:
    old, new = golden_config[key].split(" -> ")
    return str(golden_config["prompt"].replace(old, new))


def padded_ids(backbone: Any, texts: list[str]) -> Any:
    return backbone.tokenizer(
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids


def test_tokens(recording: Any, backbone: Any) -> None:
    for text, ids in recording("prompt_io")[1]["token_ids"].items():
        assert backbone.tokenizer(text).input_ids == ids, text


def test_embeddings_of_plain_prompts(recording: Any, golden_config: Any, backbone: Any) -> None:
    tensors, notes = recording("prompt_io")
    source = backbone.embed_text(Prompt(golden_config["prompt"]))
    assert (source - tensors["source_embeds"]).abs().max() < TOLERANCE
    pair = [backbone.embed_text(Prompt(text)) for text in (notes["negative_prompt"], swapped(golden_config, "swap"))]
    assert (torch.cat(pair) - tensors["target_cfg_embeds"]).abs().max() < TOLERANCE


def test_a_concept_has_its_own_tokens_and_embeddings_for_every_layer(
    recording: Any, golden_config: Any, backbone: Any, concept: Any
) -> None:
    tensors, notes = recording("prompt_io")
    prompt = concept.prompt(swapped(golden_config, "swap_lora"))
    assert prompt.text == notes["target_prompt"]
    with concept.attach(backbone):
        assert torch.equal(padded_ids(backbone, list(prompt.per_layer)), tensors["edlora_token_ids"])
        positive = backbone.embed_text(prompt)
        negative = backbone.embed_text(concept.prompt(notes["negative_prompt"]))
        assert torch.equal(padded_ids(backbone, [notes["negative_prompt"]]), tensors["neg_token_ids"])
    assert (positive - tensors["edlora_embeds"][1]).abs().max() < TOLERANCE
    assert (negative - tensors["edlora_embeds"][0]).abs().max() < TOLERANCE


def test_merged_weights(golden: Any, recording: Any, backbone: Any, concept: Any) -> None:
    tensors, notes = recording("prompt_io")
    unet, text = dict(backbone.unet.named_parameters()), dict(backbone.text_encoder.named_parameters())
    bases = {name: unet[name] for name in notes["layers"]}
    with concept.attach(backbone):
        merged = dict(backbone.unet.named_parameters())
        for name in notes["layers"]:
            assert (merged[name] - tensors[f"merged.{name}"]).abs().max() < TOLERANCE, name
            assert not torch.equal(merged[name], bases[name]), name
        merged = dict(backbone.text_encoder.named_parameters())
        for name in notes["text_layers"]:
            ours = name if name in text else name.removeprefix("text_model.")
            assert (merged[ours] - tensors[f"merged.{name}"]).abs().max() < TOLERANCE, name
        total = sum(float(value.double().abs().sum()) for value in backbone.unet.parameters())
    temporal = torch.load(golden / "mm_tiny.ckpt", weights_only=True)  # the recorded sum counts them too
    total += sum(float(value.double().abs().sum()) for value in temporal.values())
    assert total == pytest.approx(notes["unet_total_abs"], rel=1e-6)
