"""A stand-in for the package `cotracker` with the signatures recorded of its version 3.0: small real trackers.

It is not CoTracker, which is no part of this repository and isn't on PyPI. It refuses video and queries of other shapes
than the real one takes. What follows the points is one of two: `Spot`, by which all points move as the brightest spot
does, exactly; and `Matcher`, which follows each point on any video, roughly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import small_matcher


class Spot(nn.Module):
    """Points move as the brightest spot does, times the one weight `gain`."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def begin(self, xy: Tensor) -> None:
        """Points that will be set at xy [N, 2], each in a frame of its own."""
        self.xy, self.at_query = xy, torch.zeros_like(xy)

    def advance(self, frame: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """Places [N, 2] in the next frame [3, H, W] in 0..255, and where points are seen [N]; those `new` [N] are set
        in it."""
        grey = frame.mean(dim=0)
        brightest, index = grey.flatten().max(dim=0)
        spot = torch.stack([index % grey.shape[1], index // grey.shape[1]]).float()
        self.at_query = torch.where(new[:, None], spot, self.at_query)
        return self.xy + self.gain * (spot - self.at_query), (brightest > 200).expand(len(self.xy))


class Matcher(nn.Module):
    """Points are sought by what they look like; the weight `gain` makes their contrast."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))

    def begin(self, xy: Tensor) -> None:
        self.xy, self.filters = xy, small_matcher.filters()
        self.key = xy.new_zeros(len(xy), small_matcher.CHANNELS)
        self.state = xy.new_zeros(len(xy), small_matcher.STATE)

    def advance(self, frame: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        maps = small_matcher.described(frame * self.gain / 255, self.filters)
        size = (frame.shape[2], frame.shape[1])
        self.state = small_matcher.advanced(maps, size, self.key, self.state)
        if new.any():
            self.key = torch.where(new[:, None], small_matcher.read(maps, self.xy), self.key)
            self.state = torch.where(new[:, None], small_matcher.begun(self.xy, self.key), self.state)
        return self.state[:, :2], self.state[:, 4] > 0


def follow(follower: Any, frames: Tensor, first: int, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Places [T, N, 2] and where points are seen [T, N] in frames [T, 3, H, W], the first of which has number `first`;
    queries [N, 3]. Before its query a point stands still there."""
    answers = []
    for number, frame in enumerate(frames, first):
        xy, seen = follower.advance(frame, queries[:, 0] == number)
        answers.append((torch.where((number < queries[:, 0])[:, None], queries[:, 1:], xy), seen))
    return torch.stack([xy for xy, _ in answers]), torch.stack([seen for _, seen in answers])


def check(video: Tensor, queries: Tensor) -> None:
    assert video.dtype == torch.float32
    assert video.ndim == 5
    assert video.shape[0] == 1
    assert video.shape[2] == 3
    assert queries.ndim == 3
    assert queries.shape[0] == 1
    assert queries.shape[2] == 3


class CoTrackerPredictor(nn.Module):
    follower: Any = Spot

    def __init__(self, checkpoint: str | None, offline: bool = True, v2: bool = False, window_len: int = 60) -> None:
        super().__init__()
        assert checkpoint is None
        assert offline
        assert not v2
        self.model = self.follower()

    def forward(
        self,
        video: Tensor,
        queries: Tensor | None = None,
        segm_mask: Tensor | None = None,
        grid_size: int = 0,
        grid_query_frame: int = 0,
        backward_tracking: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """tracks [B, T, N, 2] and visibility bool [B, T, N]."""
        assert queries is not None
        assert not backward_tracking
        check(video, queries)
        self.model.begin(queries[0, :, 1:])
        tracks, seen = follow(self.model, video[0], 0, queries[0])
        return tracks[None], seen[None]


class CoTrackerOnlinePredictor(nn.Module):
    follower: Any = Spot

    def __init__(self, checkpoint: str | None, offline: bool = False, v2: bool = False, window_len: int = 16) -> None:
        super().__init__()
        assert checkpoint is None
        assert not v2
        self.model = self.follower()
        self.step = window_len // 2

    def forward(
        self, video_chunk: Tensor, is_first_step: bool = False, queries: Tensor | None = None, grid_size: int = 5
    ) -> tuple[Tensor | None, Tensor | None]:
        """The tracks of all frames so far."""
        assert video_chunk.shape[1] == 2 * self.step
        if is_first_step:
            assert queries is not None
            check(video_chunk, queries)
            self.queries = queries[0]
            self.model.begin(self.queries[:, 1:])
            self.tracks, self.seen = torch.zeros(0, len(self.queries), 2), torch.zeros(0, len(self.queries)) > 0
            return None, None
        frames, known = video_chunk[0], len(self.tracks)
        if known:
            assert torch.equal(self.last, frames[: self.step]), "chunks must start one step later each"
            frames = frames[self.step :]
        self.last = video_chunk[0, self.step :].clone()
        tracks, seen = follow(self.model, frames, known, self.queries)
        self.tracks, self.seen = torch.cat([self.tracks, tracks]), torch.cat([self.seen, seen])
        return self.tracks[None], self.seen[None]


def checkout(folder: Path, follower: str = "Spot") -> Path:
    """A checkout of the package: `cotracker.predictor`, and hubconf.py."""
    package = folder / "cotracker"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    classes = [
        f"class {name}(small_cotracker.{name}):\n    follower = small_cotracker.{follower}\n"
        for name in ("CoTrackerOnlinePredictor", "CoTrackerPredictor")
    ]
    (package / "predictor.py").write_text("import small_cotracker\n" + "".join(classes))
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
