"""The frames and the tracked points of a set. Only numbers are drawn here; nothing is computed from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .models import Random
from .variants import Variant


def write_frames(folder: Path, height: int, width: int, count: int, seed: int) -> None:
    """A moving pattern, as JPEGs."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (height // 16 + 4, width // 16 + 4, 3)).astype(np.uint8)
    big = Image.fromarray(coarse).resize((width + 64, height + 64), Image.Resampling.BICUBIC)
    for frame in range(count):
        left, top = 5 * frame, 3 * frame % 50
        big.crop((left, top, left + width, top + height)).save(folder / f"{frame:05}.jpg", quality=92)


def read_frames(folder: Path) -> np.ndarray:
    """uint8 [F, H, W, 3]."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))])


def tracks_of(height: int, width: int, frames: int, points: int, keyframe: int, random: Random) -> Tensor:
    """[F, P, 2]: invisible, border, exactly-on-grid, slightly negative and beyond-the-edge points among them."""
    start = 0.15 + 0.6 * random.uniform(points, 2)
    moves = (0.12 * random.uniform(frames, points, 2) - 0.06).cumsum(0)
    tracks = (start + moves).clamp(0.02, 0.97) * torch.tensor([width, height])
    special = [
        (-0.3, height / 4),
        (width - 1, height - 1),
        (0, 0),
        (2 * 8, 3 * 8),
        (width - 0.25, 3.5),
        (width + 5, height / 3),
        (10, height - 0.5),
        (-1, -1),
    ]
    spots = [(f, p) for f in range(frames) for p in range(points) if f != keyframe]
    order = torch.randperm(len(spots), generator=random.generator)
    for (x, y), number in zip(special, order.tolist(), strict=False):
        tracks[spots[number]] = torch.tensor([x, y], dtype=torch.float32)
    return tracks.contiguous()


def write_points(out: Path, variant: Variant) -> None:
    """TAP.pth, TAP_alt.pth and TAP_big.pth. With 8 points or more, the last one is invisible in every frame."""
    config = variant.config
    names, width = config["points"], config["blocks"][::-1][1]
    sizes = {"TAP": (config["H"], config["W"], config["F"]), "TAP_alt": (config["H"], config["W"], config["F"])}
    sizes["TAP_big"] = tuple(config["big"])
    for number, (name, (height, columns, frames)) in enumerate(sizes.items()):
        random = Random(config["seed"] + 10 + number)
        keyframe = min(config["keyframe"], frames - 1)
        tracks = tracks_of(height, columns, frames, len(names), keyframe, random)
        if len(names) >= 8:
            tracks[:, -1] = -1
        ids = {point: index for index, point in enumerate(names)}
        content = {"pred_tracks": tracks, "point_name2id": ids, "point_embedding": random.normal(len(names), width)}
        torch.save(content, out / f"{name}.pth")
