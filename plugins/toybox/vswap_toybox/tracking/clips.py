"""A clip whose tracks are known, and what training makes of it: cut, scaled, mirrored, turned round in time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """Attributes:
    frames: uint8 or float32 [T, 3, H, W], RGB in 0..255.
    xy: float32 [T, N, 2], pixels.
    visible: bool [T, N]; never outside the frame.
    """

    frames: Tensor
    xy: Tensor
    visible: Tensor

    def cropped(self, left: int, top: int, side: int, size: int) -> TrackedClip:
        """The square of `side` pixels whose corner is (left, top), scaled to `size`, in float32."""
        frames = self.frames[:, :, top : top + side, left : left + side].float()
        if side != size:
            frames = functional.interpolate(
                frames, (size, size), mode="bilinear", align_corners=False, antialias=side > size
            )
        corner = torch.tensor([left, top], dtype=torch.float32)
        xy = (self.xy - corner + 0.5) * (size / side) - 0.5
        return TrackedClip(frames, xy, self.visible & inside(xy, size, size))

    def mirrored(self) -> TrackedClip:
        """Left and right exchanged."""
        width = self.frames.shape[3]
        xy = torch.stack([width - 1 - self.xy[..., 0], self.xy[..., 1]], -1)
        return TrackedClip(self.frames.flip(3), xy, self.visible)

    def frames_at(self, numbers: Tensor) -> TrackedClip:
        """Only these frames, in this order."""
        return TrackedClip(self.frames[numbers], self.xy[numbers], self.visible[numbers])


@dataclass(frozen=True, eq=False)
class Batch:
    """video float32 [B, T, 3, S, S]; queries [B, N, 3]; the truth: xy [B, N, T, 2] and visible bool [B, N, T]."""

    video: Tensor
    queries: Tensor
    xy: Tensor
    visible: Tensor


def inside(xy: Tensor, width: int, height: int) -> Tensor:
    """bool [...]: whether places [..., 2] are in a frame."""
    limit = torch.tensor([width, height], dtype=xy.dtype) - 0.5
    return ((xy >= -0.5) & (xy <= limit)).all(-1)


def uniform(draw: Generator, low: float, high: float) -> float:
    """A number between the two."""
    return low + (high - low) * float(torch.rand((), generator=draw))


def whole(draw: Generator, low: int, high: int) -> int:
    """A whole number from low to high, both possible."""
    return int(torch.randint(low, high + 1, (), generator=draw))


def random_view(clip: TrackedClip, frames: int, size: int, draw: Generator) -> TrackedClip:
    """`frames` of the clip, as a square of `size` pixels: another part of it, at another scale and speed, maybe
    mirrored, maybe backwards."""
    length, height, width = clip.frames.shape[0], *clip.frames.shape[2:]
    step = whole(draw, 1, max(1, (length - 1) // (frames - 1)))
    first = whole(draw, 0, length - 1 - step * (frames - 1))
    numbers = first + step * torch.arange(frames)
    if uniform(draw, 0, 1) < 0.5:
        numbers = numbers.flip(0)
    shorter = min(width, height)
    side = round(shorter * uniform(draw, 0.45, 1.0))
    left, top = whole(draw, 0, width - side), whole(draw, 0, height - side)
    view = clip.frames_at(numbers).cropped(left, top, side, size)
    return view.mirrored() if uniform(draw, 0, 1) < 0.5 else view


def with_queries(clip: TrackedClip, count: int, draw: Generator, favoured: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Choose `count` points, and for each a frame in which it is seen to be asked for in: often an early one.

    Args:
        clip: what has at least one point that is seen at all.
        count: N; points are asked for more than once where there are too few.
        draw: where random numbers come from.
        favoured: the first so many of the clip's points are chosen before others.

    Returns:
        Queries [N, 3], and their true xy [N, T, 2] and visible [N, T].
    """
    seen = clip.visible.any(0)
    rank = torch.rand(len(seen), generator=draw) + (~seen).float() * 4
    rank[:favoured] -= 1
    order = rank.argsort()[: int(seen.sum())]
    points = order[torch.arange(count) % len(order)]
    visible = clip.visible[:, points].T
    weight = torch.rand(visible.shape, generator=draw)
    early = torch.rand(count, 1, generator=draw) < 0.5
    weight = torch.where(early, torch.linspace(2, 1, visible.shape[1]), weight)
    frame = (weight * visible).argmax(1)
    xy = clip.xy[:, points].transpose(0, 1)
    queries = torch.cat([frame[:, None].float(), xy[torch.arange(count), frame]], 1)
    return queries, xy, visible
