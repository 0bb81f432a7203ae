"""One run of an edit with one threshold, on explicit probabilities; see `record_edits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .naive_parts import alignment, ddim_step, soft_mask
from .session import clips_first
from .watching import Replace, of_words

if TYPE_CHECKING:
    from .record_edits import Edit

MARGIN = 1e-4
WINDOW = 0.2, 0.8


class CrossedError(Exception):
    """A soft mask's value lies too near to the threshold for the mask to be exact."""


@dataclass
class Ladder:
    """Timesteps and shares of signal of the levels, from clean (a negative timestep, the share of timestep 0) up."""

    steps: int
    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        ratio = 1000 // self.steps
        self.timesteps = [1 - ratio] + [1 + ratio * step for step in range(self.steps)]
        self.alphas = [self.alphas_cumprod[max(0, timestep)] for timestep in self.timesteps]


class Sampling:
    """One run of an edit with one threshold."""

    def __init__(self, edit: Edit, threshold: float) -> None:
        self.edit, self.threshold, self.steps = edit, threshold, edit.group.steps
        self.text, self.residuals, self.words = edit.texts(), edit.residuals(), edit.words()
        self.after: list[Tensor] = []
        self.tensors: dict[str, Tensor] = {}
        self.masks: list[Tensor] = []
        self.replaced: list[Tensor] = []
        self.margins: list[float] = []
        self.injected_margin = 1.0
        self.total: Tensor | None = None
        self.mapper, self.alphas = self._alignment()
        share = edit.blending.get("cross_replace_steps", 0.0)
        self.cross = torch.zeros(self.steps + 1, 77)
        self.cross[: int(share * (self.steps + 1))] = 1
        self.self_steps = int(self.steps * edit.blending.get("self_replace_steps", 0.0))

    def _alignment(self) -> tuple[Tensor, Tensor]:
        tokenizer, prompt = self.edit.session.tokenizer, self.edit.session.config["prompt"]
        return alignment(tokenizer(prompt).input_ids, tokenizer(self.edit.call["prompt"]).input_ids)

    def run(self) -> None:
        ladder, latents = self.edit.group.ladder, self.edit.inversion.levels[-1]
        scale = self.edit.call["guidance_scale"]
        for step in range(self.steps):
            level = self.steps - step
            net, watch = self.edit.session.net(lora=self.edit.lora), self.watch(step)
            net.change = watch
            residuals = self.residuals if self.edit.residual_steps[step] else None
            both = net(torch.cat([latents] * 2), ladder.timesteps[level], self.text, len(latents), residuals)
            without, with_prompt = both.chunk(2)
            noise = without + scale * (with_prompt - without)
            if step == 0:
                self.tensors["guided_noise_pred_step0"] = clips_first(noise)
            latents = ddim_step(latents, noise, ladder.alphas[level], ladder.alphas[level - 1])
            if self.edit.group.blended:
                self.injected_margin = min(self.injected_margin, watch.margin)
                self.replaced += watch.masks
                latents = self.blended(step, latents, watch)
            self.after.append(latents)

    def watch(self, step: int) -> Replace:
        edit, there = self.edit, self.steps - 1 - step
        least = edit.group.least if edit.group.blended else 0
        watch = Replace(least, len(edit.inversion.levels[0]), edit.group.cells, threshold=self.threshold)
        if self.cross[step].any() or step < self.self_steps:
            watch.source = edit.inversion.probabilities[there]
            watch.mapper, watch.share = self.mapper, self.cross[step] * self.alphas
            watch.attention = edit.source_attention(there) if step < self.self_steps else None
        return watch

    def blended(self, step: int, latents: Tensor, watch: Replace) -> Tensor:
        """Outside both masks the source's latents of one level higher than the edit's."""
        edit, there = self.edit, self.steps - 1 - step
        now = of_words(watch.found, self.words, edit.group.cells)
        self.total = now if self.total is None else self.total + now
        soft = torch.stack([edit.source_soft(there), soft_mask(self.total, *edit.group.cells)])
        margin = min(float((soft - self.threshold).abs().min()), watch.margin)
        if margin < MARGIN:
            raise CrossedError(f"{margin}")
        self.margins.append(margin)
        old, new = soft > self.threshold
        self.masks.append(torch.stack([old, old | new]))
        if step in (0, self.steps - 1):
            self.tensors[f"soft{step}"] = soft
        if step not in edit.blended_steps:
            return latents
        if step == edit.blended_steps[0]:
            self.tensors["latents_before_blend_first_blended_step"] = latents.transpose(0, 1)
        return torch.where((old | new)[:, None], latents, edit.inversion.levels[there + 1])

    def blend_notes(self) -> dict[str, Any]:
        """Put what blending left into the tensors; its notes."""
        edit = self.edit
        words = torch.zeros(2, 77)
        words[0, edit.group.source_words] = 1
        words[1, self.words] = 1
        soft = [self.tensors.pop(f"soft{step}") for step in (0, self.steps - 1)]
        self.tensors |= {"alpha_words": words, "mask_soft_lowres_step0_last": torch.stack(soft)}
        self.tensors |= {"mask_binary": torch.stack(self.masks).to(torch.uint8), "cross_replace_alpha": self.cross}
        self.tensors |= {"refine_mapper": self.mapper[None], "refine_alphas": self.alphas[None, None, None]}
        calls = len(self.replaced)
        for call in {0, calls - 1} if calls else ():
            self.tensors[f"attention_blend_mask_call{call}"] = self.replaced[call][None].to(torch.uint8)
        first, last = (int(share * self.steps) for share in WINDOW)
        return {
            "mask_min_margin_per_step": self.margins,
            "mask_mean_per_step": [[float(mask.float().mean()) for mask in pair] for pair in self.masks],
            "attention_blend_calls": calls,
            "attention_blend_margin": self.injected_margin,
            "self_replace_steps_range": [0, self.self_steps],
            "blend_window_counter_gt_lt": [first, last],
        }
