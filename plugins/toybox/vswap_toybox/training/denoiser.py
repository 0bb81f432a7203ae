"""Stage `unet`: U-Net and text encoder, trained together on the pool of latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from vswap_kernel.types import ByteArray
from vswap_toybox.training.latents import Captioned, Latents, read_latents
from vswap_toybox.training.models import make_schedule, token_ids
from vswap_toybox.training.noise import STEPS, importance, noised, sample, signal_shares, spread_timesteps
from vswap_toybox.training.sheets import sheet

_SUBJECT = 3.0
PROMPTS = (
    "a red car on a green field",
    "a striped blue boat over the sea",
    "a white cat on the snow",
    "a yellow fish in the desert",
    "a striped purple car on a grey road at sunset",
    "a green boat over the sea at night",
    "a striped red cat on a green field",
    "a purple fish on the snow at night",
    "a yellow car in the desert at sunset",
    "a striped green fish over the sea",
    "a striped green car on a grey road",
    "a blue boat on the snow",
)
"""Of the sample sheets; the last two are looks that training never shows."""


class DenoiserTask:
    """Implements `Task`; its model holds "unet" and "text"."""

    name = "unet"

    def __init__(
        self,
        data: Path,
        latents: Path,
        tokenizer: Any,
        unet: Any,
        text: Any,
        vae: Any,
        device: str,
        *,
        steps: int = STEPS,
    ) -> None:
        """Read the pools of `latents`; `steps` are those of its samples."""
        self.steps = steps
        self.model: nn.Module = nn.ModuleDict({"unet": unet, "text": text})
        self.vae, self.device, self.tokenizer = vae, device, tokenizer
        self.pool, self.held = (
            Captioned(read_latents(latents, data, name), tokenizer) for name in ("pictures-train", "pictures-held")
        )
        self.empty = token_ids(tokenizer, [""])
        self.schedule = make_schedule()
        self.shares = signal_shares(self.schedule, device)

    def loss(self, batch: int, draw: Generator, /) -> tuple[Tensor, int]:
        rows, ids = self.pool.draw(batch, draw)
        squares, share = self._squares(self.model, self.pool.latents, rows, ids, draw)
        weight = subject_weight(self.pool.latents.masks[rows].to(self.device).float())
        return ((squares * weight).mean((1, 2, 3)) * importance(share)).mean(), batch

    def _squares(self, model: Any, pool: Latents, rows: Tensor, ids: Tensor, draw: Generator) -> tuple[Tensor, Tensor]:
        """Squared errors [N, 4, h, w] of the predicted noise, and the share of signal [N]."""
        latents = pool.draw(rows, draw).to(self.device)
        noise = torch.randn(latents.shape, generator=draw).to(self.device)
        moments = spread_timesteps(len(rows), draw).to(self.device)
        share = self.shares[moments]
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            text = model["text"](ids.to(self.device))[0]
            predicted = model["unet"](noised(latents, noise, share), moments, text).sample
        return (predicted.float() - noise).pow(2), share

    @torch.no_grad()
    def measure(self, mean: nn.Module, /) -> Mapping[str, float]:
        draw, errors, shares = Generator().manual_seed(0), [], []
        for rows in torch.arange(len(self.held.latents)).split(64):
            squares, share = self._squares(mean, self.held.latents, rows, self.held.ids[rows], draw)
            errors.append(squares.mean((1, 2, 3)))
            shares.append(share)
        error, share = torch.cat(errors), torch.cat(shares)
        velocity = error * (1 + (1 - share) / share)
        found = {"held": float((error * importance(share)).mean())}
        for name, low, high in (("little_noise", 0.5, 1.0), ("noise", 0.1, 0.5), ("much_noise", 0.0, 0.1)):
            chosen = (share >= low) & (share < high)
            if chosen.any():
                found[f"held_v_{name}"] = float(velocity[chosen].mean())
        return found

    @torch.no_grad()
    def picture(self, mean: nn.Module, /) -> ByteArray:
        rows = [self.draw_samples(mean, list(PROMPTS), seed) for seed in range(3)]
        return sheet(rows)

    @torch.no_grad()
    def draw_samples(self, model: Any, prompts: list[str], seed: int, **settings: Any) -> Tensor:
        """Pictures [N, 3, H, W] in 0..1 of these prompts."""

        def predict(noisy: Tensor, moments: Tensor, text: Tensor) -> Tensor:
            with torch.autocast(self.device.split(":")[0], torch.bfloat16):
                predicted: Tensor = model["unet"](noisy, moments, text).sample
            return predicted

        text = model["text"](token_ids(self.tokenizer, prompts).to(self.device))[0]
        empty = model["text"](self.empty.to(self.device))[0]
        shape = (len(prompts), *self.pool.latents.mean.shape[-3:])
        latents = sample(predict, self.schedule, text, empty, shape, seed=seed, **{"steps": self.steps} | settings)
        return to_pictures(self.vae, latents)


def subject_weight(masks: Tensor) -> Tensor:
    """The weight of each cell, 4 on the subject and 1 elsewhere, with a mean of 1 over all of them."""
    weight = 1 + _SUBJECT * (masks > 0.1).float()
    return weight / weight.mean()


def to_pictures(vae: Any, latents: Tensor) -> Tensor:
    """Latents [N, 4, h, w] decoded, in 0..1."""
    made: Tensor = vae.decode(latents / vae.config.scaling_factor).sample.float() / 2 + 0.5
    return made.clamp(0, 1)
