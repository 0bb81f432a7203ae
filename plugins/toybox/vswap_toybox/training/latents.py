"""Encodes rendered pictures once: a pool of latents costs the training nothing afterwards."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor
from torch.nn import functional

from vswap_toybox.training.checkpoint import write_tensors
from vswap_toybox.training.data import Pool, read, to_model
from vswap_toybox.training.models import token_ids
from vswap_toybox.training.ranks import Ranks

_CHUNK = 1024
_WITHOUT_CAPTION = 0.1


@dataclass(frozen=True)
class Latents:
    """Attributes:
    mean, deviation: float16 [N, 4, h, w], in units of the U-Net (clips [N, T, 4, h, w]).
    masks: float16 [N, 1, h, w], share of each cell that the subject covers.
    captions: N of them.
    """

    mean: Tensor
    deviation: Tensor
    masks: Tensor
    captions: list[str]

    def __len__(self) -> int:
        return len(self.mean)

    def draw(self, rows: Tensor, draw: Generator) -> Tensor:
        """float32 latents of these rows, drawn from the posterior."""
        mean, deviation = self.mean[rows].float(), self.deviation[rows].float()
        return mean + deviation * torch.randn(mean.shape, generator=draw)


class Captioned:
    """An encoded pool with its captions as the text encoder takes them.

    Attributes:
        latents: the pool.
        ids: int64 [N, 77], of its captions.
    """

    def __init__(self, latents: Latents, tokenizer: Any) -> None:
        self.latents, self.ids = latents, token_ids(tokenizer, latents.captions)
        self._empty = token_ids(tokenizer, [""])[0]

    def draw(self, count: int, draw: Generator) -> tuple[Tensor, Tensor]:
        """(rows int64 [count], their ids [count, 77]); a tenth, on average, without a caption: for guidance."""
        rows = torch.randint(0, len(self.latents), (count,), generator=draw)
        ids = self.ids[rows]
        ids[torch.rand(count, generator=draw) < _WITHOUT_CAPTION] = self._empty
        return rows, ids


def encode_all(data: Path, names: tuple[str, ...], vae: Any, ranks: Ranks) -> Path:
    """Encode these pools, each rank its share; the folder that holds them. Another VAE has another folder."""
    folder = data / f"latents-{fingerprint(vae)}"
    for name in names:
        pool = read(data, name)
        for number, start in enumerate(range(0, len(pool.frames), _CHUNK)):
            path = folder / f"{name}-{number:04d}.safetensors"
            if number % ranks.count == ranks.rank and not path.is_file():
                write_tensors(path, _encoded(pool, slice(start, start + _CHUNK), vae, ranks.device), {})
    ranks.wait()
    if ranks.first:
        for stale in data.glob("latents-*"):
            if stale != folder:
                shutil.rmtree(stale)
    ranks.wait()
    return folder


@torch.no_grad()
def _encoded(pool: Pool, rows: slice, vae: Any, device: str) -> dict[str, Tensor]:
    shape, factor = pool.frames[rows].shape[:-3], float(vae.config.scaling_factor)
    means, deviations = [], []
    for part in pool.frames[rows].flatten(0, -4).split(64):
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            posterior = vae.encode(to_model(part).to(device)).latent_dist
        means.append((posterior.mean.float() * factor).half().cpu())
        deviations.append((posterior.std.float() * factor).half().cpu())
    mean, deviation = torch.cat(means), torch.cat(deviations)
    covered = pool.masks[rows].flatten(0, -3)[:, None].float() / 255
    masks = functional.interpolate(covered, size=mean.shape[-2:], mode="area").half()
    found = {"mean": mean, "deviation": deviation, "masks": masks}
    return {name: value.reshape(*shape, *value.shape[1:]).contiguous() for name, value in found.items()}


def read_latents(folder: Path, data: Path, name: str) -> Latents:
    """An encoded pool."""
    chunks = [load_file(path) for path in sorted(folder.glob(f"{name}-*.safetensors"))]
    joined = {key: torch.cat([chunk[key] for chunk in chunks]) for key in ("mean", "deviation", "masks")}
    return Latents(**joined, captions=read(data, name).captions)


def fingerprint(module: Any) -> str:
    """Eight digits that tell one set of weights from another."""
    digest = hashlib.sha256(str(float(module.config.scaling_factor)).encode())
    for value in module.parameters():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]
