"""Stage `vae`: the autoencoder, on pictures with every colour in every place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from vswap_kernel.types import ByteArray
from vswap_toybox.training.data import Pool, read, to_model
from vswap_toybox.training.models import Sizes, make_vae
from vswap_toybox.training.sheets import sheet

_SUBJECT = 4.0
"""The subject's pixels count this much more: it fills a sixth of the picture, and has the finest parts."""
_NEARNESS = 3e-4
"""Weight of the KL term."""


class AutoencoderTask:
    """Implements `Task`: L1 + 2 L2 + half the L1 of the gradients + KL, weighted towards the subject."""

    name = "vae"

    def __init__(self, folder: Path, sizes: Sizes, device: str, model: Any | None = None) -> None:
        """Read the pools; `model` to go on from one."""
        self.device, self.pool = device, read(folder, "wide-train")
        self.held = {name: read(folder, f"{name}-held") for name in ("wide", "pictures")}
        self.model = model or make_vae(sizes)

    def loss(self, batch: int, draw: Generator, /) -> tuple[Tensor, int]:
        rows = torch.randint(0, len(self.pool.frames), (batch,), generator=draw)
        mirrored = torch.rand(1, generator=draw).item() < 0.5
        frames, weight = (_mirror(each[rows], mirrored) for each in (self.pool.frames, self.pool.masks))
        target = to_model(frames).to(self.device)
        weight = 1 + _SUBJECT * weight[:, None].to(self.device).float() / 255
        weight = weight / weight.mean()
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            posterior = self.model.encode(target).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=draw).to(self.device)
            made = self.model.decode(posterior.mean + posterior.std * noise).sample
        error = made.float() - target
        across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
        loss = (weight * (error.abs() + 2 * error.pow(2))).mean()
        edges = (weight[..., 1:] * across.abs()).mean() + (weight[..., 1:, :] * down.abs()).mean()
        mean, variance = posterior.mean.float(), posterior.var.float()
        nearness = 0.5 * (mean.pow(2) + variance - 1 - posterior.logvar.float()).mean()
        return loss + 0.5 * edges + _NEARNESS * nearness, batch

    @torch.no_grad()
    def measure(self, mean: nn.Module, /) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for name, pool in self.held.items():
            whole, subject = fidelity(mean, pool, self.device)
            found |= {f"psnr_{name}": whole, f"psnr_{name}_subject": subject}
        return found

    @torch.no_grad()
    def picture(self, mean: nn.Module, /) -> ByteArray:
        rows = []
        for pool in self.held.values():
            target = to_model(pool.frames[:12]).to(self.device)
            rows += [target / 2 + 0.5, _rebuilt(mean, target) / 2 + 0.5]
        return sheet(rows)


def _mirror(pictures: Tensor, mirrored: bool) -> Tensor:
    return pictures.flip(-1) if mirrored else pictures


def _rebuilt(vae: Any, target: Tensor) -> Tensor:
    made: Tensor = vae.decode(vae.encode(target).latent_dist.mean).sample.float().clamp(-1, 1)
    return made


def fidelity(vae: Any, pool: Pool, device: str, count: int = 64) -> tuple[float, float]:
    """PSNR in dB of pictures encoded and decoded, mean over pictures: of all pixels, and of the subject's."""
    target, seen = to_model(pool.frames[:count]).to(device), pool.masks[:count].to(device).float() / 255
    squares = (_rebuilt(vae, target) - target).pow(2).mean(1)
    whole = squares.mean((1, 2))
    subject = (squares * seen).sum((1, 2)) / seen.sum((1, 2)).clamp(min=1)
    every, own = (float((10 * torch.log10(4 / error.clamp(min=1e-8))).mean()) for error in (whole, subject))
    return every, own


@torch.no_grad()
def unit_variance(vae: Any, pool: Pool, device: str, count: int = 256) -> float:
    """The `scaling_factor` that gives the latents of `pool` unit variance; set in the VAE's configuration."""
    means = [vae.encode(to_model(part).to(device)).latent_dist.mean for part in pool.frames[:count].split(32)]
    factor = float(1 / torch.cat(means).std())
    vae.register_to_config(scaling_factor=factor)
    return factor
