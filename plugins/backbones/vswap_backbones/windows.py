"""Cuts a clip into overlapping windows, and says with what weight each window counts in each of its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vswap_kernel.protocols import Window


@dataclass(frozen=True, eq=False)
class Part:
    """Frames `start` to `stop` of a clip; weights float32 [stop - start]. Over all parts of a clip, the weights of a
    frame add up to 1."""

    start: int
    stop: int
    weights: Tensor

    def of(self, batch: Tensor, frames: int) -> Tensor:
        """This part of every clip in a batch [B * frames, ...]; a new tensor."""
        cut: Tensor = batch.unflatten(0, (-1, frames))[:, self.start : self.stop].flatten(0, 1)
        return cut

    def add_to(self, total: Tensor, batch: Tensor) -> None:
        """Add this part's results [B, n, ...] to those of the clips [B, frames, ...], in place."""
        weights = self.weights.to(batch.device, batch.dtype).view(1, -1, *[1] * (batch.ndim - 2))
        total[:, self.start : self.stop] += batch * weights


def starts(frames: int, window: Window) -> list[int]:
    """First frames of the windows: evenly spaced, so that no two neighbours share fewer than `window.overlap` frames
    and all have the same length."""
    room, step = frames - window.length, window.length - window.overlap
    if room <= 0:
        return [0]
    count = -(-room // step)
    return [round(i * room / count) for i in range(count + 1)]


def parts(frames: int, window: Window) -> Iterator[Part]:
    """The windows of a clip. Where two of them overlap, one fades out linearly while the other fades in."""
    length, first = min(window.length, frames), starts(frames, window)
    ramps, total = [], torch.zeros(frames)
    for i, start in enumerate(first):
        ramp, place = torch.ones(length), torch.arange(length)
        if i > 0:
            ramp = torch.minimum(ramp, (place + 1) / (first[i - 1] + length - start + 1))
        if i + 1 < len(first):
            ramp = torch.minimum(ramp, (length - place) / (start + length - first[i + 1] + 1))
        ramps.append(ramp)
        total[start : start + length] += ramp
    for start, ramp in zip(first, ramps, strict=True):
        yield Part(start, start + length, ramp / total[start : start + length])


def in_windows(run: Callable[[Part], Tensor], frames: int, window: Window) -> Tensor:
    """Blend what `run` makes of each window.

    Args:
        run: called with one part after the other; returns [B * n, ...], n frames for each of B clips.
        frames: length of the whole clip.
        window: length and overlap of the windows.

    Returns:
        [B * frames, ...]. Besides it, only one window's result is alive at a time.
    """
    total: Tensor | None = None
    for part in parts(frames, window):
        result = run(part).unflatten(0, (-1, part.stop - part.start))
        if total is None:
            total = result.new_zeros(result.shape[0], frames, *result.shape[2:])
        part.add_to(total, result)
    assert total is not None
    return total.flatten(0, 1)
