"""What a layered neural atlas of the reference's kind shows at a place of the video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vswap_canonical.reference.networks import ReferenceNetworks


@dataclass(frozen=True)
class ReferenceGrid:
    """How the reference turns pixels and frames into coordinates: x/(L/2) - 1, y/(L/2) - 1, t/(F/2) - 1, with L the
    longer side. size is (width, height)."""

    size: tuple[int, int]
    frames: int

    @property
    def half(self) -> float:
        """Pixels in one unit."""
        return max(self.size) / 2

    def places(self, x: Tensor, y: Tensor, frame: Tensor) -> Tensor:
        """Coordinates [..., 3] of pixels x, y [...] in frames [...]."""
        return torch.stack([x / self.half - 1, y / self.half - 1, self.times(frame)], -1)

    def times(self, frame: Tensor) -> Tensor:
        """The time coordinate of frames."""
        return frame / (self.frames / 2) - 1

    def pixels(self, places: Tensor) -> Tensor:
        """Pixels (x, y) [..., 2] of coordinates [..., 2 or 3]."""
        return (places[..., :2] + 1) * self.half


@dataclass(frozen=True, eq=False)
class Rendered:
    """What is seen at N places: colour [N, 3] in 0..1, opacity [N, 1] of the foreground, the colours foreground and
    background [N, 3] that it mixes, and where they are in the atlas, foreground_uv and background_uv [N, 2]."""

    colour: Tensor
    opacity: Tensor
    foreground: Tensor
    background: Tensor
    foreground_uv: Tensor
    background_uv: Tensor


def render(networks: ReferenceNetworks, places: Tensor) -> Rendered:
    """The mixed colours at places [N, 3] (paper, equation 3).

    Both layers share one atlas: (u, v) of -1..1 becomes 0..1 for the foreground and -1..0 for the background.
    """
    foreground_uv, background_uv = networks.foreground_mapping(places), networks.background_mapping(places)
    foreground = (networks.atlas(foreground_uv * 0.5 + 0.5) + 1) * 0.5
    background = (networks.atlas(background_uv * 0.5 - 0.5) + 1) * 0.5
    opacity = opacity_at(networks, places)
    mixed = opacity * foreground + (1 - opacity) * background
    return Rendered(mixed, opacity, foreground, background, foreground_uv, background_uv)


def opacity_at(networks: ReferenceNetworks, places: Tensor) -> Tensor:
    """The opacity [N, 1] that is trained and rendered: within 0.001..0.991, so that its logarithms are finite."""
    opacity: Tensor = 0.5 * (networks.opacity(places) + 1) * 0.99 + 0.001
    return opacity


@torch.no_grad()
def render_frame(networks: ReferenceNetworks, grid: ReferenceGrid, frame: int, at_once: int = 1 << 16) -> Rendered:
    """All pixels of a frame, row by row: N = height * width; `at_once` of them are evaluated together."""
    width, height = grid.size
    device = next(networks.parameters()).device
    y, x = (axis.flatten().float() for axis in torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"))  # fmt: skip
    places = grid.places(x, y, torch.full_like(x, frame))
    parts = [vars(render(networks, part)) for part in places.split(at_once)]
    return Rendered(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})
