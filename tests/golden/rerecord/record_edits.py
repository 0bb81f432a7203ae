"""edit_*: inversion, guided sampling, blending and attention replacement, on explicit probabilities.

Independent of our code: all but the VAE, the text encoder and the tokenizer, which are the libraries'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .models import write_json
from .naive_parts import adapter_states, ddim_step, soft_mask, word_places
from .sampling import MARGIN, WINDOW, CrossedError, Ladder, Sampling
from .session import SCALE, Session, clips_first
from .watching import Inversion, Keep, of_words


@dataclass
class Group:
    """One validation: its edits share the inversion."""

    session: Session
    name: str
    edits: dict[str, dict[str, Any]]
    folder: str = "frames"
    tap: str = "TAP.pth"
    least: int = 1024
    blended: bool = True
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.session.config
        self.steps, self.ladder = config["steps"], Ladder(config["steps"], self.session.alphas)
        self.old = self.session.subject("swap")[0]
        tokenizer, prompt = self.session.tokenizer, config["prompt"]
        self.source_words = places_in(tokenizer, prompt, self.old)

    @torch.no_grad()
    def record(self, vae_noise: Tensor, *, full: bool) -> None:
        """Write the inversion and each edit; full: all steps of the inversion are kept."""
        mean, deviation = self.session.posterior(self.session.frames(self.folder))
        start = (mean + deviation * vae_noise) * SCALE
        self.cells = (start.shape[-2], start.shape[-1])
        inversion = self.invert(start)
        kept = list(range(self.steps)) if full else [self.steps - 1]
        tensors = {"latents_after_step": torch.stack([inversion.levels[step + 1].transpose(0, 1) for step in kept])}
        if full or self.folder != "frames":
            tensors |= {"initial_latents": clips_first(start), "vae_noise": vae_noise}
            tensors["noise_pred_first"] = clips_first(inversion.first_noise)
        self.session.write(f"edit_{self.name}_inversion", tensors)
        config, edits = self.session.config, {}
        for name, swap in self.edits.items():
            edits[name] = Edit(self, name, swap, inversion).record()
        settings = {"use_blend": self.blended, "guidance_scale": config["guidance"], "editing_prompts": self.edits}
        notes = {"group": self.name, "frames": self.folder, "tap": self.tap, "attention_threshold_pixels": self.least}
        notes |= {"editing_config": settings | {"num_inference_steps": self.steps}, "inversion_steps_kept": kept}
        notes |= {"inverse_timesteps": self.ladder.timesteps[:-1], "edits": edits}
        write_json(self.session.out / f"edit_{self.name}.json", notes)

    def invert(self, start: Tensor) -> Inversion:
        text, levels, kept, first = self.session.embed(self.session.config["prompt"]), [start], [], start
        for step in range(self.steps):
            net = self.session.net()
            net.change = keep = Keep(self.least if self.blended else 0)
            noise = net(levels[-1], self.ladder.timesteps[step], text, len(start))
            first = noise if step == 0 else first
            levels.append(ddim_step(levels[-1], noise, *self.ladder.alphas[step : step + 2]))
            kept.append(keep.found)
        return Inversion(levels, first, kept)


def places_in(tokenizer: Any, prompt: str, subject: str) -> list[int]:
    """Where the subject's words stand in a prompt, each word read by itself."""
    words = prompt.split(" ")
    return word_places([len(tokenizer(word).input_ids) - 2 for word in words], words, subject)


class Edit:
    """One edit."""

    def __init__(self, group: Group, name: str, swap: dict[str, Any], inversion: Inversion) -> None:
        self.group, self.name, self.swap, self.inversion = group, name, swap, inversion
        self.session, config = group.session, group.session.config
        self.lora = swap["lora_path"] is not None
        old, self.new = swap["replace"].split(" -> ")
        prompt = config["prompt"].replace(old, self.new)
        if "replace_other" in swap:
            prompt = prompt.replace(*swap["replace_other"].split(" -> "))
        chosen = swap["select_point"]
        indices = None if chosen is None else [config["points"].index(point) for point in chosen]
        self.call = {"prompt": prompt, "negative_prompt": swap.get("negative_prompt", config["neg"])}
        self.call |= {"guidance_scale": swap.get("guidance_scale", config["guidance"]), "index_list": indices}
        self.call |= {"t2i_guidance_scale": swap["t2i_guidance_scale"]}
        self.call |= {"t2i_start": config["t2i_start"], "t2i_end": config["t2i_end"]}
        self.blending = swap.get("blend_cfg", {})
        self.residual_steps = [
            group.steps * config["t2i_start"] <= step <= group.steps * config["t2i_end"] for step in range(group.steps)
        ]
        first, last = (int(share * group.steps) for share in WINDOW)
        self.blended_steps = [s for s in range(group.steps) if first < s + 1 < last] if group.blended else []

    def texts(self) -> Tensor:
        """[2, 77, C], or [2, layers, 77, C] of the concept: negative prompt, prompt."""
        both = self.call["negative_prompt"], self.call["prompt"]
        if not self.lora:
            return self.session.embed(*both)
        return torch.stack([self.session.embed_concept(text) for text in both])

    def residuals(self) -> list[Tensor]:
        tap = self.session.read_tap(self.swap["tap_path"] or self.group.tap)
        points = self.call["index_list"] or range(tap["pred_tracks"].shape[1])
        size = 8 * self.group.cells[0], 8 * self.group.cells[1]
        strength = self.call["t2i_guidance_scale"]
        return adapter_states(self.session.adapter, tap["point_embedding"], tap["pred_tracks"], points, size, strength)

    def words(self) -> list[int]:
        if not self.lora:
            return places_in(self.session.tokenizer, self.call["prompt"], self.new)
        bound = {word: names[0] for word, names in self.session.concept_words.items()}
        prompt = " ".join(bound.get(word, word) for word in self.call["prompt"].split(" "))
        return places_in(self.session.concept_tokenizer, prompt, " ".join(bound[word] for word in self.new.split(" ")))

    def record(self) -> dict[str, Any]:
        """Try thresholds until no soft mask lies near one; write the edit; its notes."""
        for threshold in self.thresholds():
            try:
                sampling = Sampling(self, threshold)
                sampling.run()
            except CrossedError:
                continue
            return self.written(sampling, threshold)
        raise AssertionError(f"{self.group.name} {self.name}: no threshold keeps its distance from all soft masks")

    def thresholds(self) -> list[float]:
        """About the middle of the source's soft masks, none of whose values is near."""
        if not self.group.blended:
            return [0.0]
        soft = [self.source_soft(step) for step in range(self.group.steps)]
        values = torch.stack(soft).flatten()
        wide = [round(float(values.quantile(0.3 + 0.02 * i)) + 0.0007 * j, 4) for i in range(20) for j in range(5)]
        order = sorted(wide, key=lambda value: abs(value - float(values.quantile(0.5))))
        return [value for value in order if float((values - value).abs().min()) > 2 * MARGIN]

    def source_attention(self, there: int) -> Tensor:
        return of_words(self.inversion.probabilities[there], self.group.source_words, self.group.cells)

    def source_soft(self, there: int) -> Tensor:
        return soft_mask(self.source_attention(there), *self.group.cells)

    def written(self, sampling: Sampling, threshold: float) -> dict[str, Any]:
        steps, tensors = self.group.steps, sampling.tensors
        full = self.name.endswith("sel")
        kept = list(range(steps)) if full else [0, steps // 2, steps - 1]
        tensors["latents_after_step"] = torch.stack([sampling.after[step].transpose(0, 1) for step in kept])
        tensors["prompt_embeds"] = sampling.text if sampling.text.ndim == 3 else sampling.text[:, 0]
        notes: dict[str, Any] = {"latent_steps_kept": kept, "swap": self.swap, "call": self.call}
        notes |= {"timesteps": self.group.ladder.timesteps[:0:-1], "steps_with_residual": self.residual_steps}
        notes |= {"blended_steps": self.blended_steps}
        notes["final_latents_std"] = float(sampling.after[-1].std())
        if self.group.blended:
            self.swap["blend_cfg"] = self.blending | {"blend_th": threshold}
            notes |= sampling.blend_notes()
        decoded = self.session.vae.decode(sampling.after[-1][[0, -1]] / SCALE).sample
        tensors["decoded_frame0_pixels_y0_x0_step4"] = decoded[0, :, ::4, ::4]
        if full and not self.group.blended:
            tensors["decoded_frame0"] = decoded[0]
            pictures = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            tensors["frames_u8_first_last"] = pictures.permute(0, 2, 3, 1)
        self.session.write(f"edit_{self.group.name}_{self.name}", tensors)
        return notes
