"""Pools of clips with their tracks: rendered once, held in memory, seen in another way each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file
from torch import Generator, Tensor

from vswap_toybox.tracking.clips import TrackedClip, whole
from vswap_toybox.tracking.data_photos import photo_clip, read_photos
from vswap_toybox.tracking.data_toybox import FIRST_SEED, toybox_clip
from vswap_toybox.training.checkpoint import write_tensors

_POINTS = 96
_HELD_SEED = 900_000


@dataclass(frozen=True)
class PoolSizes:
    """How many clips of each kind, how many of each kind to measure on, their frames, and pixels a side."""

    toybox: int = 600
    photos: int = 600
    held: int = 24
    frames: int = 16
    toybox_pixels: int = 192
    photo_pixels: int = 160


class Pool:
    """Clips of equal shape: frames uint8 [K, T, 3, H, W], xy float32 [K, T, N, 2], visible bool [K, T, N]."""

    def __init__(self, path: Path) -> None:
        """Read what `render_pools` wrote.

        Raises:
            FileNotFoundError: it hasn't been rendered.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: render it first (python -m vswap_toybox.train_tracker data)")
        self._held: dict[str, Tensor] = load_file(path)

    def __len__(self) -> int:
        return len(self._held["frames"])

    def __getitem__(self, index: int) -> TrackedClip:
        return TrackedClip(*(self._held[name][index] for name in ("frames", "xy", "visible")))

    def draw(self, draw: Generator) -> TrackedClip:
        """Any clip, whole."""
        return self[whole(draw, 0, len(self) - 1)]


def render_pools(folder: Path, photos: Path, held_photos: Path, sizes: PoolSizes) -> None:
    """Write whatever pool isn't in `folder` yet: {toybox,photos}-{held,train}.safetensors.

    Args:
        folder: made if it is missing.
        photos, held_photos: folders of photographs, to train and to measure on.
        sizes: of the pools.
    """
    frames, pixels = sizes.frames, sizes.photo_pixels

    def toybox(first: int) -> Callable[[int], TrackedClip]:
        return lambda index: toybox_clip(first + index, frames, sizes.toybox_pixels)

    def moved(source: Path, seed: int) -> Callable[[int], TrackedClip]:
        pictures = read_photos(source)
        return lambda index: photo_clip(pictures, frames, pixels, _POINTS, Generator().manual_seed(seed + index))

    _render(folder / "toybox-held.safetensors", sizes.held, toybox(_HELD_SEED))
    _render(folder / "photos-held.safetensors", sizes.held, moved(held_photos, _HELD_SEED))
    _render(folder / "toybox-train.safetensors", sizes.toybox, toybox(FIRST_SEED))
    _render(folder / "photos-train.safetensors", sizes.photos, moved(photos, FIRST_SEED))


def _render(path: Path, count: int, make: Callable[[int], TrackedClip]) -> None:
    if path.is_file():
        return
    made = [make(index) for index in track(range(count), f"rendering {path.stem}")]
    tensors = {
        "frames": torch.stack([clip.frames.round().to(torch.uint8) for clip in made]),
        "xy": torch.stack([clip.xy for clip in made]),
        "visible": torch.stack([clip.visible for clip in made]),
    }
    write_tensors(path, tensors, {"clips": count})
