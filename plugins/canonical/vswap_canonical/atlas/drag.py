"""A drag carried by a fitted atlas: through the local frame of the subject's map around the point."""

from __future__ import annotations

import torch
from torch import Tensor

from vswap_canonical.atlas.layer import solved
from vswap_canonical.atlas.model import Atlas

_RINGS, _SPOKES = 3, 12
_SEEN = 0.5


@torch.no_grad()
def carried(
    atlas: Atlas, frame: int, place: Tensor, offset: Tensor, tracked: Tensor, visible: Tensor, reach: float
) -> Tensor:
    """The displacement [T, M, 2] of M points at `place` [M, 2] that are moved by `offset` [M, 2] on `frame`.

    In the picture's coordinates the move is J_frame offset, and in frame t it is J_t^-1 of that (VideoSwap, arXiv
    2312.02087, section 3.4), with J the mean Jacobian of the subject's map over the subject's pixels within `reach` of
    the point: a single place's own may be bent by noise, and a move may be longer than what surrounds it. So a move
    that leaves the subject goes with the frame of where it started.

    Args:
        tracked: [T, M, 2], where the points are in each frame.
        visible: bool [T, M]; hidden points are taken where the atlas has them.
        reach: pixels on `frame`.
    """
    count, points = tracked.shape[:2]
    every = torch.arange(count).repeat_interleave(points)
    at = torch.full((points,), frame)
    here = _local_frame(atlas, at, place, torch.full((points,), reach))
    uv = atlas.subject.uv(at, place).repeat(count, 1)
    xy, hidden = tracked.flatten(0, 1).clone(), ~visible.flatten()
    xy[hidden] = atlas.subject.xy(every[hidden], uv[hidden])
    moved = (here @ offset[..., None])[..., 0].repeat(count, 1)
    # as much of the subject as on the keyframe: where it is drawn smaller, fewer pixels
    growth = torch.linalg.det(here).abs().repeat(count) / torch.linalg.det(
        atlas.subject.jacobian(every, xy)
    ).abs().clamp_min(1e-6)
    there = _local_frame(atlas, every, xy, reach * growth.sqrt().clamp(0.2, 5))
    sizes = atlas.subject.windows[:, 2:].prod(1).sqrt().repeat_interleave(points)
    return _bounded(solved(there, moved), offset.repeat(count, 1), sizes / sizes[frame * points]).view(count, points, 2)


def _bounded(moved: Tensor, offset: Tensor, growth: Tensor) -> Tensor:
    """Moves [N, 2] of which none is more than twice as long, over what was asked [N, 2], as the subject is large [N]
    over its size then: where a side of it is seen end-on, its map says that nearly nothing is a long way."""
    longest = 2 * growth * offset.norm(dim=1)
    bounded: Tensor = moved * (longest / moved.norm(dim=1).clamp_min(1e-6)).clamp(max=1)[:, None]
    return bounded


def _local_frame(atlas: Atlas, frame: Tensor, xy: Tensor, reach: Tensor) -> Tensor:
    """The mean Jacobian [N, 2, 2] around places xy [N, 2]: over discs of radius `reach` [N], as far as those are
    subject."""
    angle = torch.arange(_SPOKES) * (2 * torch.pi / _SPOKES)
    radius = (torch.arange(_RINGS) + 1) / _RINGS
    disc = (radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)).view(-1, 2)
    disc = torch.cat([torch.zeros(1, 2), disc])
    around = xy[:, None] + reach[:, None, None] * disc
    every = frame.repeat_interleave(len(disc))
    weight = atlas.opacity_at(every, around.view(-1, 2)).view(len(xy), -1) + 1e-3
    jacobians = atlas.subject.jacobian(every, around.view(-1, 2)).view(len(xy), -1, 2, 2)
    mean: Tensor = (weight[..., None, None] * jacobians).sum(1) / weight.sum(1)[:, None, None]
    return mean


def shown(atlas: Atlas, tracked: Tensor) -> Tensor:
    """bool [T, M]: whether the places [T, M, 2] are on what the atlas has in front."""
    count, points = tracked.shape[:2]
    every = torch.arange(count).repeat_interleave(points)
    return (atlas.opacity_at(every, tracked.flatten(0, 1)) > _SEEN).view(count, points)
