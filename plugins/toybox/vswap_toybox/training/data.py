"""Renders what is trained on, once: pictures for the VAE, captioned pictures, captioned clips, and held-out ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor

from vswap_toybox.rendering import render
from vswap_toybox.training import world
from vswap_toybox.training.checkpoint import read_about, write_tensors
from vswap_toybox.training.models import FRAMES, Sizes
from vswap_toybox.training.world import Take


@dataclass(frozen=True)
class Counts:
    """How many of each are rendered, and how many more of each are held out."""

    wide: int = 16_000
    clips: int = 1_600
    pictures: int = 40_000
    held: int = 256


@dataclass(frozen=True)
class Pool:
    """frames uint8 [N, 3, h, w] (clips [N, T, 3, h, w]), masks uint8 without the 3, N captions."""

    frames: Tensor
    masks: Tensor
    captions: list[str]


def render_all(folder: Path, sizes: Sizes, counts: Counts, seed: int) -> None:
    """Render whatever set isn't in `folder` yet. Seeds of held-out sets are others than those of the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    makers: tuple[tuple[str, int, Callable[[np.random.Generator], Take]], ...] = (
        ("wide", counts.wide, world.sample_wide),
        ("clips", counts.clips, lambda rng: world.sample(rng, FRAMES)),
        ("pictures", counts.pictures, world.sample_picture),
    )
    for number, (name, count, make) in enumerate(makers):
        held = max(4, counts.held // FRAMES) if name == "clips" else counts.held
        for kind, size in (("held", held), ("train", count)):
            path = folder / f"{name}-{kind}.safetensors"
            if not path.is_file():
                _render(path, make, size, sizes, (seed, number, int(kind == "held")))


def _render(
    path: Path, make: Callable[[np.random.Generator], Take], count: int, sizes: Sizes, seed: tuple[int, int, int]
) -> None:
    frames, masks, captions = [], [], []
    for index in track(range(count), f"rendering {path.stem}"):
        take = make(np.random.default_rng((*seed, index)))
        made = render(take.subject, take.scene, take.motion, (sizes.pixels, sizes.pixels))
        frames.append(torch.from_numpy(made.frames).permute(0, 3, 1, 2))
        masks.append(torch.from_numpy(made.masks))
        captions.append(take.caption)
    gather = torch.stack if frames[0].shape[0] > 1 else torch.cat
    tensors = {"frames": gather(frames).contiguous(), "masks": gather(masks).contiguous()}
    write_tensors(path, tensors, {"captions": captions})


def read(folder: Path, name: str) -> Pool:
    """A rendered set: "wide-train", "pictures-held", ..."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: render it first (stage data)")
    tensors, about = load_file(path), read_about(path)
    captions = about["captions"]
    assert isinstance(captions, list)
    return Pool(tensors["frames"], tensors["masks"], captions)


def to_model(frames: Tensor) -> Tensor:
    """uint8 pictures as the VAE takes them: float32 in -1..1."""
    return frames.float() / 127.5 - 1
