"""`toytrack`: tracks any points through a window of frames.

After TAPIR (Doersch et al. 2023: a look-everywhere first guess in each frame, then refinement over time), RAFT (Teed
and Deng 2020: correlations looked up around the current estimate), and LocoTrack (Cho et al. 2024: a neighbourhood of
the query compared with a neighbourhood of the estimate). Points don't see each other, so they may come in any groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vswap_toybox.tracking.correlation import VALUES, Level
from vswap_toybox.tracking.encoder import COARSE, FINE, Encoder

_AROUND = 2
"""Cells around the likeliest one of which a first guess is the mean, to each side."""
_MEMORY = 16.0
"""Frames after which the distance in time from the query isn't told apart any more."""
_CUES = 13


@dataclass(frozen=True)
class Sizes:
    """Channels: of the encoder (`stem`, `fine`, `coarse`), of the first guess's maps, and of the refinement.

    iterations: of the refinement.
    """

    stem: int = 32
    fine: int = 64
    coarse: int = 96
    maps: int = 8
    hidden: int = 144
    iterations: int = 3


TINY = Sizes(8, 16, 16, 4, 24, 2)


class Estimate(NamedTuple):
    """xy [B, N, T, 2] pixels, and the logit [B, N, T] of being visible."""

    xy: Tensor
    visible: Tensor


class Prediction(NamedTuple):
    """heat: logits [B, N, T, h * w] of the coarse cell that holds the point; steps: first guess and refinements."""

    heat: Tensor
    steps: list[Estimate]


class FirstGuess(nn.Module):
    """Compares each point with every coarse cell of every frame."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(12.0))
        self.nearness = nn.Parameter(torch.tensor(1.0))
        self.first, self.second = nn.Conv2d(1, maps, 3, padding=1), nn.Conv2d(maps, 1, 3, padding=1)
        self.visible = nn.Linear(2 * maps + 1, 1)

    def forward(self, level: Level, look: Tensor, query_xy: Tensor, since: Tensor) -> tuple[Tensor, Estimate]:
        """Heat and estimate for looks [B, N, C], queries [B, N, 2], and frames [B, N, T] since each query."""
        batch, points, frames = since.shape
        cells = level.cells.reshape(batch, -1, level.cells.shape[-1])
        product = (look @ cells.transpose(1, 2)).reshape(-1, 1, level.rows, level.columns)
        maps = functional.relu(self.first(product))
        heat = (self.sharpness * product + self.second(maps)).reshape(batch, points, frames, -1)
        places = _cell_places(level, query_xy)
        # what is far from the query is less likely, the more so the less time has gone by
        extent = level.stride * max(level.rows, level.columns)
        distance = (places - query_xy[:, :, None]).square().sum(-1).add(1e-6).sqrt() / extent
        slack = (1 + since.abs()).clamp(max=_MEMORY) / _MEMORY
        heat = heat - functional.softplus(self.nearness) * distance[:, :, None] / slack[..., None]
        best = places[0, 0, heat.argmax(-1)]
        near = ((places[0, 0] - best[..., None, :]).abs() <= _AROUND * level.stride).all(-1)
        weight = torch.softmax(heat.masked_fill(~near, -1e4), -1)
        peak = product.flatten(1).amax(1)[:, None]
        cues = torch.cat([maps.amax((2, 3)), maps.mean((2, 3)), peak], 1)
        return heat, Estimate(weight @ places[0, 0], self.visible(cues).reshape(batch, points, frames))


class Mixer(nn.Module):
    """Mixes over time by a dilated convolution, then within each frame."""

    def __init__(self, hidden: int, dilation: int) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation)
        self.within = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
        self.norms = nn.ModuleList([nn.LayerNorm(hidden), nn.LayerNorm(hidden)])

    def forward(self, state: Tensor) -> Tensor:
        """States [points, T, hidden]."""
        mixed = self.over_time(self.norms[0](state).transpose(1, 2)).transpose(1, 2)
        state = state + functional.gelu(mixed)
        within: Tensor = self.within(self.norms[1](state))
        return state + within


class Refinement(nn.Module):
    """Moves the estimates to where they look right and agree over time; the same network in every iteration."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.compared = nn.Linear(2 * VALUES, sizes.hidden)
        self.look = nn.Linear(sizes.fine + sizes.coarse, sizes.hidden)
        self.cues = nn.Linear(_CUES, sizes.hidden)
        self.before = nn.Sequential(nn.LayerNorm(sizes.hidden), nn.Linear(sizes.hidden, sizes.hidden))
        self.mixers = nn.Sequential(*(Mixer(sizes.hidden, dilation) for dilation in (1, 2, 4)))
        change = nn.Linear(sizes.hidden, 3)
        # training starts from the first guess
        nn.init.zeros_(change.weight)
        nn.init.zeros_(change.bias)
        self.after = nn.Sequential(nn.LayerNorm(sizes.hidden), change)

    def forward(self, state: Tensor, compared: Tensor, look: Tensor, cues: Tensor) -> tuple[Tensor, Tensor]:
        """The next state [B, N, T, hidden], and changes [B, N, T, 3] of x, y and visibility."""
        state = self.compared(compared) + self.look(look)[:, :, None] + self.cues(cues) + self.before(state)
        state = self.mixers(state.flatten(0, 1)).unflatten(0, state.shape[:2])
        return state, self.after(state)


class ToyTrack(nn.Module):
    """The network. `forward` is the contract of the tracker `onnx`; `predict` also tells of the steps on the way."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes.stem, sizes.fine, sizes.coarse)
        self.guess, self.refinement = FirstGuess(sizes.maps), Refinement(sizes)

    def forward(self, video: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Track points through a window.

        Args:
            video: float32 [B, T, 3, H, W], RGB in 0..255.
            queries: float32 [B, N, 3], (frame, x, y), pixels.

        Returns:
            Tracks [B, T, N, 2] in pixels, and the probability [B, T, N] of being visible.
        """
        last = self.predict(video, queries).steps[-1]
        return last.xy.transpose(1, 2), torch.sigmoid(last.visible).transpose(1, 2)

    def predict(self, video: Tensor, queries: Tensor) -> Prediction:
        """First guess and refinements, for the loss; `video` and `queries` as in `forward`."""
        batch, frames = video.shape[:2]
        size = torch.tensor([video.shape[4], video.shape[3]], dtype=video.dtype, device=video.device)
        grids = self.encoder(video.flatten(0, 1) / 127.5 - 1)
        fine, coarse = Level.of(grids.fine, FINE), Level.of(grids.coarse, COARSE)
        number, query_xy = queries[..., 0], queries[..., 1:]
        frame = torch.arange(batch * frames, device=video.device).reshape(batch, 1, frames)
        since = torch.arange(frames, device=video.device) - number[..., None]
        asked = number.long().clamp(0, frames - 1) + frame[:, :, 0]
        templates = [level.template(asked, query_xy) for level in (fine, coarse)]
        look = torch.cat([template[:, :, template.shape[2] // 2] for template in templates], -1)
        heat, estimate = self.guess(coarse, look[..., self.sizes.fine :], query_xy, since)
        steps = [_anchored(estimate, query_xy, since)]
        state = estimate.xy.new_zeros(*since.shape, self.sizes.hidden)
        for _ in range(self.sizes.iterations):
            # as in RAFT, no gradient through where an iteration starts
            xy = steps[-1].xy.detach()
            compared = torch.cat(
                [level.compare(template, frame, xy) for level, template in zip((fine, coarse), templates, strict=True)],
                -1,
            )
            cues = _cues(xy, steps[-1].visible.detach(), query_xy, since, size)
            state, change = self.refinement(state, compared, look, cues)
            estimate = Estimate(xy + FINE * change[..., :2].float(), steps[-1].visible + change[..., 2].float())
            steps.append(_anchored(estimate, query_xy, since))
        return Prediction(heat, steps)


def _anchored(estimate: Estimate, query_xy: Tensor, since: Tensor) -> Estimate:
    """In its query frame a point is where the query says."""
    xy = torch.where(since[..., None] == 0, query_xy[:, :, None], estimate.xy)
    return Estimate(xy, estimate.visible)


def _cues(xy: Tensor, visible: Tensor, query_xy: Tensor, since: Tensor, size: Tensor) -> Tensor:
    """What the refinement is told besides looks [B, N, T, _CUES]: steps to the frames before and after (in fine cells,
    and their signed logarithm), place in the frame, way from the query, visibility, and time from the query."""
    ahead = functional.pad(xy[:, :, 1:] - xy[:, :, :-1], (0, 0, 0, 1)) / FINE
    behind = functional.pad(xy[:, :, :-1] - xy[:, :, 1:], (0, 0, 1, 0)) / FINE
    way = torch.cat([ahead, behind], -1)
    place = 2 * xy / size - 1
    moved = 2 * (xy - query_xy[:, :, None]) / size.max()
    time = (since / _MEMORY).clamp(-1, 1)
    flags = torch.stack([torch.sigmoid(visible), time, torch.exp(-since.abs())], -1)
    signed = torch.sign(way) * torch.log1p(way.abs())
    return torch.cat([signed, (way / 4).clamp(-1, 1)[..., :2], place, moved, flags], -1)


def _cell_places(level: Level, like: Tensor) -> Tensor:
    """Pixels [1, 1, h * w, 2] of a level's cells."""
    row, column = torch.arange(level.rows, device=like.device), torch.arange(level.columns, device=like.device)
    y, x = torch.meshgrid(row, column, indexing="ij")
    return (torch.stack([x, y], -1).reshape(1, 1, -1, 2) * level.stride).to(like.dtype)
