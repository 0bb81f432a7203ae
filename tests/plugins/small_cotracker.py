"""A stand-in for the package `cotracker` with the signatures recorded of its version 3.0: a small real tracker.

It is not CoTracker, which is no part of this repository and isn't on PyPI: points move as the brightest spot does,
times the one weight `gain`. It refuses video and queries of other shapes than the real one takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Spot(nn.Module):
    def __init__(self, window_len: int) -> None:
        super().__init__()
        self.window_len = window_len
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Places [T, 2] of the spot, and whether it is there [T]."""
        assert video.dtype == torch.float32
        assert video.ndim == 5
        assert video.shape[0] == 1
        assert video.shape[2] == 3
        grey = video[0].mean(dim=1)
        brightest, index = grey.flatten(1).max(dim=1)
        width = grey.shape[2]
        return torch.stack([index % width, index // width], dim=1).float(), brightest > 200


def follow(gain: Tensor, spot: Tensor, seen: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    assert queries.ndim == 3
    assert queries.shape[0] == 1
    assert queries.shape[2] == 3
    frame = queries[0, :, 0].long().clamp(max=len(spot) - 1)
    tracks = queries[0, :, 1:] + gain * (spot[:, None] - spot[frame])
    return tracks[None], seen[:, None].expand(-1, queries.shape[1])[None]


class CoTrackerPredictor(nn.Module):
    def __init__(self, checkpoint: str | None, offline: bool = True, v2: bool = False, window_len: int = 60) -> None:
        super().__init__()
        assert checkpoint is None
        assert offline
        assert not v2
        self.model = Spot(window_len)

    def forward(
        self,
        video: Tensor,
        queries: Tensor | None = None,
        segm_mask: Tensor | None = None,
        grid_size: int = 0,
        grid_query_frame: int = 0,
        backward_tracking: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """tracks [B, T, N, 2] and visibility bool [B, T, N]; before a query the point stands still there."""
        assert queries is not None
        tracks, seen = follow(self.model.gain, *self.model(video), queries)
        before = torch.arange(video.shape[1])[:, None] < queries[0, :, 0]
        if not backward_tracking:
            tracks = torch.where(before[None, ..., None], queries[:, None, :, 1:], tracks)
        return tracks, seen


class CoTrackerOnlinePredictor(nn.Module):
    def __init__(self, checkpoint: str | None, offline: bool = False, v2: bool = False, window_len: int = 16) -> None:
        super().__init__()
        assert checkpoint is None
        assert not v2
        self.model = Spot(window_len)
        self.step = window_len // 2
        self.queries: Any = None

    def forward(
        self, video_chunk: Tensor, is_first_step: bool = False, queries: Tensor | None = None, grid_size: int = 5
    ) -> tuple[Tensor | None, Tensor | None]:
        """The tracks of all frames so far."""
        assert video_chunk.shape[1] == 2 * self.step
        if is_first_step:
            assert queries is not None
            self.queries = queries
            self.spot, self.seen = torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool)
            return None, None
        spot, seen = self.model(video_chunk)
        known = len(self.spot)
        if known:
            assert torch.equal(self.spot[-self.step :], spot[: self.step]), "chunks must start one step later each"
            spot, seen = spot[self.step :], seen[self.step :]
        self.spot, self.seen = torch.cat([self.spot, spot]), torch.cat([self.seen, seen])
        return follow(self.model.gain, self.spot, self.seen, self.queries)


def checkout(folder: Path) -> Path:
    """A checkout of the package: `cotracker.predictor`, and hubconf.py."""
    package = folder / "cotracker"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "predictor.py").write_text("from small_cotracker import CoTrackerOnlinePredictor, CoTrackerPredictor\n")
    (folder / "hubconf.py").write_text(
        "from cotracker.predictor import CoTrackerOnlinePredictor, CoTrackerPredictor\n"
        "def cotracker3_offline(*, pretrained=True, **kwargs):\n"
        "    assert not pretrained\n"
        "    return CoTrackerPredictor(checkpoint=None, window_len=60, v2=False)\n"
        "def cotracker3_online(*, pretrained=True, **kwargs):\n"
        "    assert not pretrained\n"
        "    return CoTrackerOnlinePredictor(checkpoint=None, window_len=16, v2=False)\n"
    )
    return folder
