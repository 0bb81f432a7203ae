"""Figures of a tracker on clips whose tracks are known, and a picture of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vswap_kernel.types import ByteArray
from vswap_toybox.tracking.clips import Batch
from vswap_toybox.tracking.model import ToyTrack

_SHARES = (1, 2, 4, 8, 16)  # pixels of a frame of 256 x 256, as in TAP-Vid
_SHOWN = 6  # frames of a clip
_DOT = 2


@torch.no_grad()
def measure(model: ToyTrack, batches: Iterable[Batch], threshold: float = 0.5) -> dict[str, float]:
    """After TAP-Vid (Doersch et al. 2022), the clips' points taken together and query frames left out.

    Returns:
        "error": mean distance in pixels of the frames at hand where a point is truly visible; "delta_avg": the mean
        share of those within 1, 2, 4, 8 and 16 pixels of a frame of 256 x 256; "oa": how often visibility is right.
    """
    distances, scaled, right = [], [], []
    for batch in batches:
        xy, visible = model(batch.video, batch.queries)
        counted = torch.arange(batch.xy.shape[2]) != batch.queries[..., :1]
        distance = (xy.transpose(1, 2) - batch.xy).norm(dim=-1)[batch.visible & counted]
        distances.append(distance)
        scaled.append(distance * 256 / max(batch.video.shape[3:]))
        right.append(((visible.transpose(1, 2) >= threshold) == batch.visible)[counted])
    far = torch.cat(scaled)
    shares = torch.stack([(far < share).float().mean() for share in _SHARES])
    agreed = torch.cat(right).float().mean()
    return {"error": float(torch.cat(distances).mean()), "delta_avg": float(shares.mean()), "oa": float(agreed)}


@torch.no_grad()
def overlay(model: ToyTrack, batches: Iterable[Batch], points: int = 16) -> ByteArray:
    """uint8 [H, W, 3], a row of frames a clip: each point a coloured dot where it is said to be visible, with a white
    dot where it truly is."""
    rows = []
    for batch in batches:
        xy, visible = model(batch.video, batch.queries)
        frames = batch.video[0].permute(0, 2, 3, 1).clone()
        for number in torch.linspace(0, len(frames) - 1, _SHOWN).long():
            for point in range(min(points, batch.xy.shape[1])):
                if batch.visible[0, point, number]:
                    _dot(frames[number], batch.xy[0, point, number], torch.full((3,), 255.0))
                if visible[0, number, point] >= 0.5:
                    _dot(frames[number], xy[0, number, point], _colour(point))
        rows.append(torch.cat([frames[number] for number in torch.linspace(0, len(frames) - 1, _SHOWN).long()], 1))
    sheet: ByteArray = torch.cat(rows).to(torch.uint8).numpy()
    return sheet


def _dot(frame: Tensor, xy: Tensor, colour: Tensor) -> None:
    x, y = (max(0, round(float(value)) - 1) for value in xy)
    frame[y : y + _DOT, x : x + _DOT] = colour


def _colour(point: int) -> Tensor:
    return torch.tensor([(point * 67) % 200 + 55, (point * 131) % 200 + 55, (point * 29) % 200 + 55]).float()
