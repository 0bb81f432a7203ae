"""Stage `judge`: a small classifier, trained on renderings alone, that says what is in a picture.

Its accuracy on the model's samples, pictures and clips, beside that on held-out renderings, tells how well subjects can
be recognised: the diffusion loss hardly does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from vswap_kernel.types import ByteArray
from vswap_toybox.training.data import Pool, read
from vswap_toybox.training.denoiser import DenoiserTask
from vswap_toybox.training.motion import MotionTask
from vswap_toybox.training.sheets import sheet, spread_frames
from vswap_toybox.training.world import CLASSES, COLOUR_NAMES

_JUDGED_FRAMES = 4
"""Of a clip; neighbours would say the same."""


def make_judge() -> nn.Module:
    """Pictures [N, 3, H, W] in 0..1 -> scores [N, 4 + 6] of classes and colours."""

    def block(into: int, out: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(into, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU()]

    widths = ((3, 24, 2), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1), (96, 96, 2))
    layers = itertools.chain.from_iterable(block(*width) for width in widths)
    head = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(96, len(CLASSES) + len(COLOUR_NAMES))]
    return nn.Sequential(*layers, *head)


class JudgeTask:
    """Implements `Task`: cross entropy of class and colour, on pictures with noise and blur."""

    name = "judge"

    def __init__(self, data: Path, device: str) -> None:
        """Read the pools of captioned pictures."""
        self.device, self.model = device, make_judge()
        self.pool, self.held = read(data, "pictures-train"), read(data, "pictures-held")
        self.labels = labels(self.pool.captions)

    def loss(self, batch: int, draw: Generator, /) -> tuple[Tensor, int]:
        rows = torch.randint(0, len(self.pool.frames), (batch,), generator=draw)
        pictures = self.pool.frames[rows].float() / 255
        side = int(torch.randint(pictures.shape[-1] // 3, pictures.shape[-1] + 1, (1,), generator=draw))
        small = functional.interpolate(pictures, size=(side, side), mode="area")
        pictures = functional.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
        pictures = pictures + 0.03 * torch.randn(pictures.shape, generator=draw)
        scores = self.model(pictures.to(self.device))
        classes, colours = self.labels[rows].to(self.device).T
        found = functional.cross_entropy(scores[:, : len(CLASSES)], classes)
        return found + functional.cross_entropy(scores[:, len(CLASSES) :], colours), batch

    @torch.no_grad()
    def measure(self, mean: nn.Module, /) -> Mapping[str, float]:
        classes, colours = accuracy(mean, self.held.frames.float() / 255, self.held.captions, self.device)
        return {"held_class": classes, "held_colour": colours}

    @torch.no_grad()
    def picture(self, mean: nn.Module, /) -> ByteArray:
        return sheet([self.held.frames[:12].float() / 255])


def labels(captions: list[str]) -> Tensor:
    """int64 [N, 2]: class and colour that captions name, the colour being the word before the class."""
    found = []
    for caption in captions:
        words = caption.split()
        place = next(i for i, word in enumerate(words) if word in CLASSES)
        found.append((CLASSES.index(words[place]), COLOUR_NAMES.index(words[place - 1])))
    return torch.tensor(found)


@torch.no_grad()
def accuracy(judge: nn.Module, pictures: Tensor, captions: list[str], device: str) -> tuple[float, float]:
    """Shares of pictures [N, 3, H, W] whose class, and whose colour, the judge finds to be the caption's."""
    scores = torch.cat([judge(part.to(device)).cpu() for part in pictures.split(64)])
    wanted = labels(captions)
    classes, colours = scores[:, : len(CLASSES)].argmax(1), scores[:, len(CLASSES) :].argmax(1)
    return float((classes == wanted[:, 0]).float().mean()), float((colours == wanted[:, 1]).float().mean())


def some_captions(pool: Pool, count: int) -> list[str]:
    """At most `count` captions of a pool, in an order of chance that is always the same."""
    return [pool.captions[i] for i in np.random.default_rng(0).permutation(len(pool.captions))[:count]]


def judge_samples(
    judge: nn.Module, task: DenoiserTask, model: nn.Module, pool: Pool, device: str, count: int = 192
) -> dict[str, float]:
    """Accuracy on samples of the model, for `count` captions of a held-out pool, and on all renderings of the pool."""
    chosen = some_captions(pool, count)
    parts = [chosen[i : i + 48] for i in range(0, len(chosen), 48)]
    pictures = torch.cat([task.draw_samples(model, part, seed).cpu() for seed, part in enumerate(parts)])
    classes, colours = accuracy(judge, pictures, chosen, device)
    real_classes, real_colours = accuracy(judge, pool.frames.float() / 255, pool.captions, device)
    found = {"samples": float(len(chosen)), "sample_class": classes, "sample_colour": colours}
    return found | {"real_class": real_classes, "real_colour": real_colours}


def judge_clips(
    judge: nn.Module, task: MotionTask, captions: list[str], device: str
) -> tuple[dict[str, float], Tensor]:
    """Accuracy on four frames of each clip sampled for these captions, and the clips [N, T, 3, H, W]."""
    parts = [captions[i : i + 8] for i in range(0, len(captions), 8)]
    model = task.model.eval()
    clips = torch.cat([task.draw_samples(model, part, seed).cpu() for seed, part in enumerate(parts)])
    shown = spread_frames(clips, _JUDGED_FRAMES)
    classes, colours = accuracy(
        judge, shown.flatten(0, 1), [caption for caption in captions for _ in range(shown.shape[1])], device
    )
    return {"video_samples": float(len(captions)), "video_class": classes, "video_colour": colours}, clips
