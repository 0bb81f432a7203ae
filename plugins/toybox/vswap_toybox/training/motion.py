"""Stage `motion`: the motion adapter, on clips, inside the frozen image model.

It runs where it runs in use: the component `animatediff` attaches it, so that training and use have the same layers in
the same places, each frame's norms its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from vswap_kernel.api import Context
from vswap_kernel.registry import Registry
from vswap_kernel.types import ByteArray
from vswap_toybox.training.denoiser import subject_weight, to_pictures
from vswap_toybox.training.latents import Captioned, Latents, read_latents
from vswap_toybox.training.models import make_schedule, token_ids
from vswap_toybox.training.noise import STEPS, importance, noised, sample, signal_shares, spread_timesteps
from vswap_toybox.training.sheets import sheet, spread_frames

PROMPTS = (
    "a red car on a green field",
    "a striped blue boat over the sea",
    "a white cat on the snow",
    "a yellow fish in the desert at sunset",
    "a striped purple car on a grey road at night",
)


class MotionTask:
    """Implements `Task`; its model is the adapter."""

    name = "motion"

    def __init__(
        self,
        data: Path,
        latents: Path,
        adapter: Path,
        tokenizer: Any,
        unet: Any,
        text: Any,
        vae: Any,
        device: str,
        *,
        steps: int = STEPS,
    ) -> None:
        """Read the pools of `latents`, and the adapter in the folder `adapter`.

        Args:
            data, latents: folders of the rendered pools and of the encoded ones.
            adapter: a diffusers folder with the weights to start from.
            tokenizer, unet, text, vae: the image model; frozen.
            device: where it runs.
            steps: of its samples.
        """
        self.steps = steps
        self.device, self.vae, self.tokenizer = device, vae, tokenizer
        self.unet, self.text = (part.to(device).eval().requires_grad_(False) for part in (unet, text))
        self.module = Registry.discover().create(
            "motion", "animatediff", {"weights": adapter}, Context(adapter, device)
        )
        self.model: nn.Module = self.module.adapter.requires_grad_(True).train()
        self.pool, self.held = (
            Captioned(read_latents(latents, data, name), tokenizer) for name in ("clips-train", "clips-held")
        )
        self.empty = token_ids(tokenizer, [""])
        self.schedule = make_schedule()
        self.shares = signal_shares(self.schedule, device)

    def loss(self, batch: int, draw: Generator, /) -> tuple[Tensor, int]:
        rows, ids = self.pool.draw(batch, draw)
        squares, share = self._squares(self.model, self.pool.latents, rows, ids, draw)
        weight = subject_weight(self.pool.latents.masks[rows].to(self.device).float())
        loss = ((squares * weight).mean((1, 2, 3, 4)) * importance(share)).mean()
        return loss, batch * self.pool.latents.mean.shape[1]

    def _squares(
        self, adapter: nn.Module, pool: Latents, rows: Tensor, ids: Tensor, draw: Generator
    ) -> tuple[Tensor, Tensor]:
        """Squared errors [N, T, 4, h, w] of the predicted noise, and the share of signal [N]."""
        latents = pool.draw(rows, draw).to(self.device)
        if torch.rand(1, generator=draw).item() < 0.5:
            latents = latents.flip(1)
        noise = torch.randn(latents.shape, generator=draw).to(self.device)
        moments = spread_timesteps(len(rows), draw).to(self.device)
        share = self.shares[moments]
        with torch.no_grad():
            text = self.text(ids.to(self.device))[0]
        predicted = self._predict(adapter, noised(latents, noise, share), moments, text)
        return (predicted.float() - noise).pow(2), share

    def _predict(self, adapter: nn.Module, clips: Tensor, moments: Tensor, text: Tensor) -> Tensor:
        """Noise [N, T, 4, h, w] of clips at timesteps [N], with text [N, 77, C]."""
        count, frames = clips.shape[:2]
        bench = SimpleNamespace(unet=self.unet, frames=frames, window=None)
        each = [value.repeat_interleave(frames, 0) for value in (moments, text)]
        kept, self.module.adapter = self.module.adapter, adapter
        try:
            with self.module.attach(bench), torch.autocast(self.device.split(":")[0], torch.bfloat16):
                predicted: Tensor = self.unet(clips.flatten(0, 1), *each).sample
        finally:
            self.module.adapter = kept
        clipwise: Tensor = predicted.unflatten(0, (count, frames))
        return clipwise

    @torch.no_grad()
    def measure(self, mean: nn.Module, /) -> Mapping[str, float]:
        draw, rows = Generator().manual_seed(0), torch.arange(min(16, len(self.held.latents)))
        squares, share = self._squares(mean, self.held.latents, rows, self.held.ids[rows], draw)
        error = squares.mean((1, 2, 3, 4))
        velocity = error * (1 + (1 - share) / share)
        return {"held": float((error * importance(share)).mean()), "held_v": float(velocity.mean())}

    @torch.no_grad()
    def picture(self, mean: nn.Module, /) -> ByteArray:
        return sheet(list(spread_frames(self.draw_samples(mean, list(PROMPTS), 0), 8)))

    @torch.no_grad()
    def draw_samples(self, adapter: nn.Module, prompts: list[str], seed: int, **settings: Any) -> Tensor:
        """Clips [N, T, 3, H, W] in 0..1 of these prompts."""

        def predict(noisy: Tensor, moments: Tensor, text: Tensor) -> Tensor:
            return self._predict(adapter, noisy, moments, text)

        text = self.text(token_ids(self.tokenizer, prompts).to(self.device))[0]
        empty = self.text(self.empty.to(self.device))[0]
        shape = (len(prompts), *self.held.latents.mean.shape[1:])
        latents = sample(predict, self.schedule, text, empty, shape, seed=seed, **{"steps": self.steps} | settings)
        clips: Tensor = to_pictures(self.vae, latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        return clips
