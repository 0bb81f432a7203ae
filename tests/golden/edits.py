"""The recorded edits, and how ours are compared with them. It needs torch: conftest.py imports it in fixtures only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.adapter import chosen
from vswap_swappers.point_diffusion.adapter_file import read_adapter
from vswap_swappers.point_diffusion.ddim import Ladder, Predict, inverted, sampled
from vswap_swappers.point_diffusion.guidance import Guidance, StepRange, text_pair
from vswap_swappers.point_diffusion.latent_blend import BlendOptions, LatentBlend
from vswap_swappers.point_diffusion.splat import splats
from vswap_swappers.point_diffusion.word_alignment import prompt_tokens
from vswap_swappers.point_diffusion.word_attention import (
    layer_mean,
    reference_mask_layers,
    reference_word_positions,
)
from vswap_track_files.tap_file import read_tap

EDIT = 1e-3
"""Relative RMS that an edit's latents may be off."""


def frames_first(latents: Tensor) -> Tensor:
    """[1, 4, F, h, w] or [4, F, h, w] as [F, 4, h, w]."""
    return latents.reshape(latents.shape[-4:]).transpose(0, 1).contiguous()


def relative(latents: Tensor, recorded: Tensor) -> float:
    """Root mean square of the difference, relative to that of the recorded ones."""
    wanted = frames_first(recorded)
    return float((latents - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


class Group:
    """One recorded group of edits: its notes, its ladder, and its inversion with the source words' attention in it."""

    def __init__(
        self,
        name: str,
        groups: Mapping[str, Any],
        golden: Path,
        config: Any,
        recording: Any,
        backbone: Any,
        motion: Any,
    ) -> None:
        self.name, self.groups, self.notes, self.golden = name, groups, groups[name], golden
        self.config, self.recording, self.backbone, self.motion = config, recording, backbone, motion
        self.ladder = Ladder.of(backbone.alphas_cumprod, len(self.notes["inverse_timesteps"]))
        self.text = backbone.embed_text(Prompt(config["prompt"]))
        self.start = self._start()
        self.cells = self.start.shape[-2], self.start.shape[-1]
        """(height, width) of the latents."""
        least, blends = self.notes["attention_threshold_pixels"], self.notes["editing_config"]["use_blend"]
        self.layers = reference_mask_layers(backbone.layers, self.cells, least) if blends else []
        """Those that masks come from; none where nothing is blended."""
        self.attention: list[Tensor] = []
        """To each token of the source prompt, [F, tokens, h, w], in each step of the inversion."""
        self.levels = self._levels()

    def _start(self) -> Tensor:
        """The clean latents; where this group's recording has none, another group's of the same frames."""
        same = [name for name, notes in self.groups.items() if notes["frames"] == self.notes["frames"]]
        for name in [self.name, *same]:
            if (self.golden / f"edit_{name}_inversion.safetensors").is_file():
                tensors, _ = self.recording(f"edit_{name}_inversion")
                if "initial_latents" in tensors:
                    return frames_first(tensors["initial_latents"])
        raise AssertionError(f"no initial latents of {self.notes['frames']} are recorded")

    def _levels(self) -> list[Tensor]:
        """The inverted latents; `attention` then is known."""
        tokens = range(len(prompt_tokens(self.backbone.tokenizer, Prompt(self.config["prompt"]))))
        with self.motion.attach(self.backbone), self.backbone.capture_attention(tokens, self.layers) as maps:

            def predict(latents: Tensor, timestep: int, step: int) -> Tensor:
                noise: Tensor = self.backbone.predict(latents, timestep, self.text, frames=len(latents))
                if self.layers:
                    self.attention.append(layer_mean([maps[layer] for layer in self.layers], 0))
                return noise

            return [self.start, *inverted(predict, self.start, self.ladder, negative_first_timestep=True)]


class Edit:
    """One recorded edit. `make_concept(path, strength)` makes the concept of an ED-LoRA file."""

    def __init__(self, group: Group, name: str, make_concept: Callable[[Path, float], Any]) -> None:
        self.group, self.notes = group, group.notes["edits"][name]
        self.tensors, _ = group.recording(f"edit_{group.name}_{name}")
        self.swap, self.call = self.notes["swap"], self.notes["call"]
        file, _, strength = (self.swap["lora_path"] or "").partition("---")
        self.concept = make_concept(group.golden / file, float(strength or 1)) if file else None
        self.old, self.new = self.swap["replace"].split(" -> ")

    def old_words(self) -> list[int]:
        """Where the old subject's words stand in the source prompt."""
        return reference_word_positions(self.group.backbone, Prompt(self.group.config["prompt"]), Prompt(self.old))

    def source(self) -> list[Tensor]:
        """Attention [F, h, w] to them in each step of the inversion."""
        words = self.old_words()
        return [attention[:, words].sum(1) for attention in self.group.attention]

    def blend_range(self) -> tuple[float, float]:
        """The blended steps as shares. They are told in counts: half a count makes shares that round down to them."""
        start, end = ((count + 0.5) / self.group.ladder.steps for count in self.notes["blend_window_counter_gt_lt"])
        return start, end

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The concept, where this edit has one."""
        with ExitStack() as self._attached:
            self._attach()
            yield

    def _attach(self) -> None:
        if self.concept is not None:
            self._attached.enter_context(self.concept.attach(self.group.backbone))

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """While the concept is attached: without it."""
        self._attached.close()
        yield
        self._attach()

    def prompt(self, text: str) -> Prompt:
        return Prompt(text) if self.concept is None else self.concept.prompt(text)

    def new_words(self) -> list[int]:
        """Where the new subject's words stand in the target prompt."""
        with self.attached():
            prompts = self.prompt(self.call["prompt"]), self.prompt(self.new)
            return reference_word_positions(self.group.backbone, *prompts)

    def guidance(self) -> Guidance:
        """What predicts in this edit."""
        steps, backbone = self.group.ladder.steps, self.group.backbone
        on = StepRange(self.call["t2i_start"], self.call["t2i_end"], inclusive=True)
        assert [on(step, steps) for step in range(steps)] == self.notes["steps_with_residual"]
        with self.attached():
            texts = [backbone.embed_text(self.prompt(self.call[key])) for key in ("negative_prompt", "prompt")]
        return Guidance(backbone, text_pair(*texts), self.call["guidance_scale"], steps, self.residuals(), on)

    def residuals(self) -> list[Tensor]:
        """The adapter's maps: of the edit's own tracks if it has some, and of the points that it chose."""
        golden, (height, width) = self.group.golden, self.group.cells
        tap = read_tap(golden / (self.swap["tap_path"] or self.group.notes["tap"]))
        adapter, indices = read_adapter(golden / "adapter.pth"), self.call["index_list"]
        embeddings = torch.from_numpy(tap.vectors)
        kept = None if indices is None else chosen(len(embeddings), indices)
        with torch.no_grad():
            places = splats(tap.xy, tap.visible, (8 * width, 8 * height))
            return adapter(embeddings, places, kept=kept, strength=self.call["t2i_guidance_scale"])


def follow_blending(edit: Edit, predict: Predict, attached: AbstractContextManager[None]) -> None:
    """Sample by `predict` and blend, with motion and what is `attached`: all is as recorded, the masks exactly."""
    group, steps, tensors = edit.group, edit.group.ladder.steps, edit.tensors
    window = BlendOptions(edit.swap["blend_cfg"]["blend_th"], *edit.blend_range(), one_level_too_high=True)
    assert [step for step in range(steps) if window(step, steps)] == edit.notes["blended_steps"]
    blend, watch = (LatentBlend(group.levels, edit.source(), window) for _ in range(2))
    words = edit.new_words()
    assert words == tensors["alpha_words"][1].nonzero().flatten().tolist()
    recorded = dict(zip(edit.notes["latent_steps_kept"], tensors["latents_after_step"], strict=True))
    with group.motion.attach(group.backbone), attached, group.backbone.capture_attention(words, group.layers) as maps:
        walk, replaced = sampled(predict, group.levels[-1], group.ladder), None
        for step in range(steps):
            latents, noise = next(walk) if replaced is None else walk.send(replaced)
            if step == 0 and "guided_noise_pred_step0" in tensors:
                assert relative(noise, tensors["guided_noise_pred_step0"]) < EDIT
            if step == next(iter(edit.notes["blended_steps"]), None):
                assert relative(latents, tensors["latents_before_blend_first_blended_step"]) < EDIT, step
            target = layer_mean([maps[layer] for layer in group.layers], 1).sum(1)
            for got, wanted in zip(watch.masks(step, target), tensors["mask_binary"][step], strict=True):
                assert torch.equal(got, wanted.bool()), step
            replaced = blend(step, latents, target)
            if step in recorded:
                assert relative(replaced, recorded[step]) < EDIT, step
