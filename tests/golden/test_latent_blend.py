"""Blend masks of each step, exactly, and the blended latents, of the recorded edits that replace no attention."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vswap_kernel.types import Prompt
from vswap_reference.tap_file import read_tap
from vswap_swappers.point_diffusion.adapter import chosen
from vswap_swappers.point_diffusion.adapter_file import read_adapter
from vswap_swappers.point_diffusion.ddim import Ladder, inverted, sampled
from vswap_swappers.point_diffusion.guidance import Guidance, StepRange, text_pair
from vswap_swappers.point_diffusion.latent_blend import (
    BlendOptions,
    LatentBlend,
    reference_mask_layers,
    word_attention,
    word_positions,
)
from vswap_swappers.point_diffusion.splat import splats

EDIT = 1e-3
INITIAL = {"blend96": "noblend", "blend96long": "noblend"}
"""Groups whose inversion starts from latents that another group's recording holds."""


def frames_first(latents: Any) -> Any:
    """[1, 4, F, h, w] or [4, F, h, w] as [F, 4, h, w]."""
    return latents.reshape(latents.shape[-4:]).transpose(0, 1).contiguous()


def words_of(edit: dict[str, Any]) -> tuple[str, str]:
    old, new = edit["swap"]["replace"].split(" -> ")
    return old, new


class Group:
    """One recorded group: its notes, its ladder, its inversion with the source words' attention."""

    def __init__(self, name: str, golden: Path, config: Any, recording: Any, backbone: Any, motion: Any) -> None:
        self.name, self.golden, self.recording, self.backbone, self.motion = name, golden, recording, backbone, motion
        self.notes = json.loads((golden / f"edit_{name}.json").read_text())
        self.ladder = Ladder.of(backbone.alphas_cumprod, config["steps"])
        start = frames_first(recording(f"edit_{INITIAL.get(name, name)}_inversion")[0]["initial_latents"])
        height, width = start.shape[-2:]
        self.size = (8 * width, 8 * height)
        least = self.notes["attention_threshold_pixels"]
        self.layers = reference_mask_layers(backbone.layers, (height, width), least)
        first = next(iter(self.notes["edits"].values()))
        tokens = word_positions(backbone, config["prompt"], words_of(first)[0])
        self.source: list[Any] = []
        with motion.attach(backbone), backbone.capture_attention(tokens, self.layers) as maps:
            text = backbone.embed_text(Prompt(config["prompt"]))

            def predict(latents: Any, timestep: int, step: int) -> Any:
                noise = backbone.predict(latents, timestep, text, frames=len(latents))
                self.source.append(word_attention([maps[layer] for layer in self.layers], 0))
                return noise

            self.levels = [start, *inverted(predict, start, self.ladder, negative_first_timestep=True)]

    def check(self, name: str, concept: Any) -> None:
        edit = self.notes["edits"][name]
        tensors, call = self.recording(f"edit_{self.name}_{name}")[0], edit["call"]
        window = BlendOptions(edit["swap"]["blend_cfg"]["blend_th"], 0.2, 0.8, one_level_too_high=True)
        steps = self.ladder.steps
        assert [step for step in range(steps) if window(step, steps)] == edit["blended_steps"]
        blend = LatentBlend(self.levels, self.source, window)
        watch = LatentBlend(self.levels, self.source, window)
        with ExitStack() as attached:
            attached.enter_context(self.motion.attach(self.backbone))
            make_prompt = Prompt
            if edit["swap"]["lora_path"]:
                attached.enter_context(concept.attach(self.backbone))
                make_prompt = concept.prompt
            texts = [self.backbone.embed_text(make_prompt(call[key])) for key in ("negative_prompt", "prompt")]
            shown = make_prompt(call["prompt"])
            written = shown.per_layer[0] if shown.per_layer else shown.text
            tokens = tensors["alpha_words"][1].nonzero().flatten().tolist()
            if not edit["swap"]["lora_path"]:
                assert tokens == word_positions(self.backbone, written, words_of(edit)[1])
            on = StepRange(call["t2i_start"], call["t2i_end"], inclusive=True)
            text, scale = text_pair(*texts), call["guidance_scale"]
            predict = Guidance(self.backbone, text, scale, steps, self.maps(edit), on)
            with self.backbone.capture_attention(tokens, self.layers) as maps:
                walk, blended = sampled(predict, self.levels[-1], self.ladder), []
                latents, _ = next(walk)
                for step in range(steps):
                    target = word_attention([maps[layer] for layer in self.layers], 1)
                    for got, wanted in zip(watch.masks(step, target), tensors["mask_binary"][step], strict=True):
                        assert torch.equal(got, wanted.bool()), (name, step)
                    blended.append(blend(step, latents, target))
                    if step + 1 < steps:
                        latents, _ = walk.send(blended[-1])
        for step, recorded in zip(edit["latent_steps_kept"], tensors["latents_after_step"], strict=True):
            wanted = frames_first(recorded)
            off = (blended[step] - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
            assert off < EDIT, (name, step)

    def maps(self, edit: dict[str, Any]) -> Any:
        tap = read_tap(self.golden / (edit["swap"]["tap_path"] or self.notes["tap"]))
        adapter, indices = read_adapter(self.golden / "adapter.pth"), edit["call"]["index_list"]
        embeddings = torch.from_numpy(tap.vectors)
        kept = None if indices is None else chosen(len(embeddings), indices)
        with torch.no_grad():
            places = splats(tap.xy, tap.visible, self.size)
            return adapter(embeddings, places, kept=kept, strength=edit["call"]["t2i_guidance_scale"])


@pytest.mark.parametrize("group", ["blend96", "big"])
def test_masks_are_exact_and_blended_latents_agree(
    group: str, golden: Path, golden_config: Any, recording: Any, backbone: Any, motion: Any, concept: Any
) -> None:
    recorded = Group(group, golden, golden_config, recording, backbone, motion)
    plain = [
        name
        for name, edit in recorded.notes["edits"].items()
        if not edit["swap"]["blend_cfg"].get("cross_replace_steps")
    ]
    assert plain, "no edit without attention replacement is recorded in this group"
    for name in plain:
        recorded.check(name, concept)
