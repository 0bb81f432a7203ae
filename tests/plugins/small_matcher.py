"""A small real tracker for stand-ins: what a point looked like is sought again around where it was, frame by frame.

Nothing in it is learned. A place is described by fixed random filters of its surroundings, at unit length. A point is
where the cosine to its description on its keyframe, or to its recent one, is highest, less for places far from where it
is expected; it is seen where that is high enough, not at the frame's border, and its step is that of most points. The
others are carried along with these.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, normalize, pad

CHANNELS, SIDE, STRIDE = 48, 11, 2
STATE = 5 + CHANNELS
"""Numbers a point: place (2), step that most points made (2), 1 where it is seen, its recent description."""
SEEN, AGAIN, KEPT = 0.82, 0.9, 0.7
"""Cosines from which on a point stays seen, is seen again, and is still what it was on its keyframe."""
NEAR, FAR = 5.0, 12.0  # pixels around a seen point, and around a hidden one
BORDER = 5.0  # pixels along the frame's border in which nothing is seen
FOLLOW = 0.1  # how fast the recent description follows what is seen
LOOSE = 2.5  # pixels by which the step of a point may differ from the others'
PEAK = 0.02  # cosine by which a cell beside the best has 1/e of its weight


def filters() -> Tensor:
    """[CHANNELS, 3, SIDE, SIDE]: random, smooth, fading towards their edges, blind to brightness."""
    noise = torch.randn(CHANNELS * 3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    blur = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    smooth = conv2d(noise, (blur[:, None] * blur)[None, None], padding=2).reshape(CHANNELS, 3, SIDE, SIDE)
    place = torch.arange(SIDE) - SIDE // 2
    window = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * (SIDE / 4.0) ** 2))
    faded = smooth * window
    return faded - faded.sum((1, 2, 3), keepdim=True) / (3 * window.sum()) * window


def described(frame: Tensor, weights: Tensor) -> Tensor:
    """Maps [CHANNELS, h, w] of a frame [3, H, W] in 0..1."""
    half = SIDE // 2
    return normalize(conv2d(pad(frame[None], (half, half, half, half), mode="replicate"), weights, stride=STRIDE))[0]


class Surroundings:
    """An embedder of such descriptions: it offers "feature-maps"."""

    def __init__(self) -> None:
        self._filters = filters()

    def feature_maps(self, frames: NDArray[np.uint8], subject: str = "") -> Tensor:
        """Maps [n, CHANNELS, h, w] of frames [n, H, W, 3]."""
        pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
        return torch.stack([described(picture, self._filters) for picture in pictures])


def read(maps: Tensor, xy: Tensor) -> Tensor:
    """Descriptions [N, CHANNELS] of places [N, 2]."""
    size = torch.tensor([maps.shape[2] - 1.0, maps.shape[1] - 1.0])
    grid = 2 * (xy / STRIDE) / size - 1
    sampled = grid_sample(maps[None], grid[None, None], padding_mode="border", align_corners=True)
    return normalize(sampled[0, :, 0].T, dim=1)


def begun(xy: Tensor, key: Tensor) -> Tensor:
    """The state [N, STATE] of points that are set at xy [N, 2], where they look like key [N, CHANNELS]."""
    return torch.cat([xy, torch.zeros_like(xy), torch.ones_like(xy[:, :1]), key], 1)


def advanced(maps: Tensor, size: tuple[int, int], key: Tensor, state: Tensor) -> Tensor:
    """The state [N, STATE] in the next frame, of `size` (width, height), by its maps."""
    before, step, was_seen, recent = state[:, :2], state[:, 2:4], state[:, 4:5] > 0, state[:, 5:]
    place, cosine = _sought(maps, key, torch.where(was_seen, recent, key), before + step, was_seen)
    own = (read(maps, place) * key).sum(1, keepdim=True)
    limit = torch.tensor([size[0] - 1 - BORDER, size[1] - 1 - BORDER])
    inside = ((place >= BORDER) & (place <= limit)).all(1, keepdim=True)
    alike = (cosine >= torch.where(was_seen, SEEN, AGAIN)) & (own >= KEPT) & inside
    common = _common(place - before, alike)
    seen = alike & ((place - before - common).norm(dim=1, keepdim=True) <= LOOSE)
    there = torch.where(seen, place, before + common)
    looks = torch.where(seen, normalize((1 - FOLLOW) * recent + FOLLOW * read(maps, there), dim=1), recent)
    return torch.cat([there, common.expand_as(there), seen.to(place.dtype), looks], 1)


def _common(steps: Tensor, sure: Tensor) -> Tensor:
    """The step [1, 2] of most of the points that are sure [N, 1], by their steps [N, 2]; zero where none is."""
    agree = ((steps[:, None] - steps).norm(dim=2) <= LOOSE) & sure & sure[:, 0]
    votes = agree[agree.sum(1).argmax()].to(steps.dtype)
    return (votes @ steps / votes.sum().clamp(min=1))[None]


def _sought(maps: Tensor, key: Tensor, recent: Tensor, around: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The best places [N, 2] around [N, 2], and the cosines there [N, 1]."""
    rows, columns = maps.shape[1:]
    flat = maps.flatten(1)
    cosine = torch.maximum(key @ flat, recent @ flat)
    down, across = torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)
    cells = STRIDE * torch.stack([across, down], 1).to(maps.dtype)
    away = ((cells - around[:, None]) ** 2).sum(2)
    score = cosine - 0.1 * away / torch.where(seen, NEAR, FAR) ** 2
    best = score.argmax(1, keepdim=True)
    near = ((cells - cells[best[:, 0]][:, None]).abs() <= STRIDE).all(2)
    weight = torch.where(near, torch.exp((score - score.gather(1, best)) / PEAK), 0.0)
    return weight @ cells / weight.sum(1, keepdim=True), cosine.gather(1, best)
