"""The reference's propagation of a drag through its atlas.

Source: Gu et al., "VideoSwap" (CVPR 2024, arXiv 2312.02087), section 3.3, and recordings: in frame t the moved point is
at inverse(uv(p), t) + delta . J_uv . J_inverse, with one-sided finite differences of steps .1 and .05 for Jacobians, on
whole pixels, hidden where the opacity is at most one half. No bound is checked: a point may end beyond the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vswap_canonical.asked import asked_moves
from vswap_canonical.reference.losses import Network
from vswap_canonical.reference.networks import ReferenceNetworks
from vswap_canonical.reference.render import ReferenceGrid
from vswap_kernel.types import DisplacementField, PointEdit, PointTracks

STEPS = (0.1, 0.05)
"""Finite differences along the first and the second coordinate, in the network's units."""


@dataclass(frozen=True, eq=False)
class CarriedPoints:
    """N moved points in F frames: xy [F, N, 2] pixels, not rounded; move [F, N, 2] pixels, the part of it that comes of
    the drag; opacity [F, N] where the point itself (not the moved one) is."""

    xy: Tensor
    move: Tensor
    opacity: Tensor

    @property
    def visible(self) -> Tensor:
        """bool [F, N]."""
        return self.opacity > 0.5


def forward_jacobian(network: Network, places: Tensor) -> Tensor:
    """Jacobians [N, 2, 2] at places [N, 3]: of the first two values (rows) by the first two coordinates (columns)."""
    here, columns = network(places)[:, :2], []
    for axis, step in enumerate(STEPS):
        moved = places.clone()
        moved[:, axis] += step
        columns.append((network(moved)[:, :2] - here) / step)
    return torch.stack(columns, 2)


@torch.no_grad()
def carry_points(
    networks: ReferenceNetworks, grid: ReferenceGrid, source: Tensor, target: Tensor, keyframe: int
) -> CarriedPoints:
    """Carry points from `source` to `target`, float [N, 2] pixels of frame `keyframe`, to all frames at once."""
    count, frames = len(source), grid.frames
    start = grid.places(source[:, 0], source[:, 1], torch.full_like(source[:, 0], keyframe))
    uv = networks.foreground_mapping(start)
    drag = ((target - source) / grid.half)[:, :, None]
    uv_drag = forward_jacobian(networks.foreground_mapping, start) @ drag
    times = grid.times(torch.arange(frames, device=source.device))
    in_atlas = torch.cat([uv.repeat(frames, 1), times.repeat_interleave(count)[:, None]], 1)
    returned = networks.foreground_inverse(in_atlas)
    move = forward_jacobian(networks.foreground_inverse, in_atlas) @ uv_drag.repeat(frames, 1, 1)
    xy = grid.pixels(returned[:, :2] + move[:, :, 0])
    opacity = (networks.opacity(returned) + 1) / 2
    shape = (frames, count, 2)
    return CarriedPoints(xy.reshape(shape), (move * grid.half).reshape(shape), opacity.reshape(shape[:2]))


def reference_displacement(
    networks: ReferenceNetworks, tracks: PointTracks, edit: PointEdit, *, whole_pixels: bool = True
) -> DisplacementField:
    """The moved points' new places less their tracked ones, as the reference has them; zero for points not moved.

    The tracks say where the points are on `edit.frame`, elsewhere the atlas alone does: a moved point leaves its track
    even for a drag of no length, and doesn't end exactly where it was asked to on `edit.frame` either.

    Args:
        networks: fitted to the video of the tracks.
        tracks: positions [T, N, 2] and the video's size.
        edit: the drag.
        whole_pixels: round places to whole pixels (half to even) where they are visible, as the reference does.

    Returns:
        Valid, for moved points, where the reference calls them visible; for the others, where their track is.

    Raises:
        InputError: `edit` moves a point that isn't tracked, or its frame is beyond the end.
    """
    moved, offset = asked_moves(tracks, edit)
    delta, valid = np.zeros(tracks.xy.shape, np.float32), tracks.visible.copy()
    if moved.size:
        device = next(networks.parameters()).device
        source = torch.from_numpy(tracks.xy[edit.frame, moved]).to(device)
        target = source + torch.from_numpy(offset).to(device)
        carried = carry_points(networks, ReferenceGrid(tracks.size, len(tracks)), source, target, edit.frame)
        xy = carried.xy.round() if whole_pixels else carried.xy
        delta[:, moved] = xy.cpu().numpy() - tracks.xy[:, moved]
        valid[:, moved] = carried.visible.cpu().numpy()
    return DisplacementField(tracks.names, delta, valid)
