"""What the training loop trains: `ToyTrack` on views of the pools' clips, one of the Toybox for each of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from vswap_kernel.types import ByteArray
from vswap_toybox.tracking.clips import Batch, TrackedClip, random_view, whole, with_queries
from vswap_toybox.tracking.dense_truth import NAMED
from vswap_toybox.tracking.figures import measure, overlay
from vswap_toybox.tracking.losses import tracking_loss
from vswap_toybox.tracking.model import Sizes, ToyTrack
from vswap_toybox.tracking.photometry import changed_light
from vswap_toybox.tracking.pools import Pool

SHAPES = ((8, 128, 32), (8, 192, 20), (12, 128, 20), (16, 112, 18))
"""Frames, pixels a side, and points of a clip, of a batch: a few hundred places in all, most of what a step costs."""
_KINDS = ("toybox", "photos")
_FAVOURED = {"toybox": NAMED, "photos": 0}
_ATTEMPTS = 8
_HELD_POINTS = 48


class TrackerTask:
    """A `vswap_toybox.training.loop.Task`."""

    name = "toytrack"

    def __init__(self, data: Path, sizes: Sizes, *, held_size: int = 128, held: int = 12) -> None:
        """Read the pools.

        Args:
            data: folder of `render_pools`.
            sizes: of the model.
            held_size, held: pixels a side of held-out clips, and how many of each kind are measured.
        """
        self.model: nn.Module = ToyTrack(sizes)
        self._pools = {kind: Pool(data / f"{kind}-train.safetensors") for kind in _KINDS}
        self._held: dict[str, list[Batch]] = {}
        for kind in _KINDS:
            pool, take = (
                Pool(data / f"{kind}-held.safetensors"),
                partial(whole_batch, size=held_size, points=_HELD_POINTS),
            )
            self._held[kind] = [take(pool[index]) for index in range(min(held, len(pool)))]

    def loss(self, batch: int, draw: Generator, /) -> tuple[Tensor, int]:
        """The loss of `batch` clips, in bfloat16 where it serves; and their frames."""
        frames, size, points = SHAPES[whole(draw, 0, len(SHAPES) - 1)]
        truth = self.batch(batch, frames, size, points, draw)
        model = self.model
        assert isinstance(model, ToyTrack)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = model.predict(truth.video, truth.queries)
        return tracking_loss(predicted, truth), batch * frames

    def batch(self, count: int, frames: int, size: int, points: int, draw: Generator) -> Batch:
        """`count` views, of the pools in turn."""
        made = [self._example(_KINDS[index % len(_KINDS)], frames, size, points, draw) for index in range(count)]
        return Batch(*(torch.stack(parts) for parts in zip(*made, strict=True)))

    def measure(self, mean: nn.Module, /) -> Mapping[str, float]:
        """Figures on held-out clips of each kind."""
        assert isinstance(mean, ToyTrack)
        found = {kind: measure(mean, batches) for kind, batches in self._held.items()}
        return {f"{kind}_{name}": value for kind, figures in found.items() for name, value in figures.items()}

    def picture(self, mean: nn.Module, /) -> ByteArray:
        """Three held-out clips of each kind."""
        assert isinstance(mean, ToyTrack)
        return overlay(mean, [batch for batches in self._held.values() for batch in batches[:3]])

    def _example(self, kind: str, frames: int, size: int, points: int, draw: Generator) -> tuple[Tensor, ...]:
        for _ in range(_ATTEMPTS):
            view = random_view(self._pools[kind].draw(draw), frames, size, draw)
            if view.visible.any():
                break
        else:
            raise ValueError(f"pool {kind!r}: no point is seen in {_ATTEMPTS} views; its clips are unusable")
        queries, xy, visible = with_queries(view, points, draw, _FAVOURED[kind])
        return changed_light(view.frames, draw), queries, xy, visible


def whole_batch(clip: TrackedClip, size: int, points: int) -> Batch:
    """The clip as it is, scaled; each point is asked for in the first frame in which it is seen."""
    whole_clip = clip.cropped(0, 0, clip.frames.shape[3], size)
    seen = whole_clip.visible.any(0).nonzero()[:points, 0]
    frame = whole_clip.visible[:, seen].float().argmax(0)
    xy = whole_clip.xy[:, seen].transpose(0, 1)
    queries = torch.cat([frame[:, None].float(), xy[torch.arange(len(seen)), frame]], 1)
    return Batch(whole_clip.frames[None], queries[None], xy[None], whole_clip.visible[:, seen].T[None])
