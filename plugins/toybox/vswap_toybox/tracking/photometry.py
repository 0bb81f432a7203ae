"""Changes of light and camera that leave tracks as they are."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vswap_toybox.tracking.clips import uniform


def changed_light(frames: Tensor, draw: Generator) -> Tensor:
    """Frames [T, 3, H, W] in 0..255 in another light, which drifts over the clip, by another camera."""
    count = len(frames)
    time = torch.linspace(-0.5, 0.5, count)[:, None, None, None]
    strength = uniform(draw, 0, 1)
    gain = torch.exp(strength * (_drawn(draw, 0.25) + _drawn(draw, 0.2) * time))
    offset = strength * 40 * (_drawn(draw, 1) + _drawn(draw, 0.5) * time)
    grey = frames.mean(1, keepdim=True)
    saturation = 1 + strength * uniform(draw, -0.9, 0.4)
    tint = 1 + strength * 0.25 * (torch.rand(1, 3, 1, 1, generator=draw) - 0.5)
    frames = (grey + (frames - grey) * saturation) * tint
    frames = (frames - 127.5) * gain + 127.5 + offset
    if uniform(draw, 0, 1) < 0.2:
        frames = frames[:, torch.randperm(3, generator=draw)]
    if uniform(draw, 0, 1) < 0.3:
        frames = blurred(frames, uniform(draw, 0.3, 1.3))
    if uniform(draw, 0, 1) < 0.5:
        frames = frames + uniform(draw, 0, 10) * torch.randn(frames.shape, generator=draw)
    return frames.clamp(0, 255)


def blurred(frames: Tensor, deviation: float) -> Tensor:
    """Frames [T, 3, H, W] blurred by a Gaussian of that many pixels."""
    reach = max(1, round(2.5 * deviation))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(frames, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, kernel, groups=3)
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=3)


def _drawn(draw: Generator, amount: float) -> float:
    return uniform(draw, -amount, amount)
