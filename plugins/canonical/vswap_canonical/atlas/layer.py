"""One layer of the atlas: where each place of each frame lies on the layer's picture, and that picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vswap_canonical.atlas import splines

_STEPS = 6
_COARSE = 12
"""Places along each side of a window among which the search for the way back starts."""


class Layer(nn.Module):
    """Maps (x, y, t) to (u, v) by one spline a frame over its own window, and holds the picture at (u, v).

    (u, v) are pixels of the layer's reference frame, where the map starts as the identity.

    Attributes:
        windows: float32 [T, 4], (x, y, width, height) in pixels of each frame.
        control: float32 [T, rows, columns, 2], the control points of u and v.
        picture: float32 [1, 3, h, w] in 0..1.
        origin: float32 [2], the (u, v) of the picture's first pixel.
        texels: pixels of the picture to one of u.
        stiffness: what bending costs when its maps are fitted.
    """

    windows: Tensor
    origin: Tensor
    texels: Tensor
    stiffness: Tensor

    def __init__(self, windows: Tensor, intervals: tuple[int, int]) -> None:
        """intervals: (down, across) of each window. The map is the identity in all frames, the picture one grey."""
        super().__init__()
        down, across = (splines.abscissae(count) / count for count in intervals)
        start, size = windows[:, None, None, :2], windows[:, None, None, 2:]
        square = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        self.intervals = intervals
        self.register_buffer("windows", windows)
        self.register_buffer("origin", torch.zeros(2))
        self.register_buffer("texels", torch.ones(()))
        self.register_buffer("stiffness", torch.ones(()))
        self.control = nn.Parameter(start + square * size)
        self.picture = nn.Parameter(torch.full((1, 3, 2, 2), 0.5))

    def uv(self, frame: Tensor, xy: Tensor) -> Tensor:
        """(u, v) [N, 2] of the places xy [N, 2] of the frames int64 [N]."""
        near, (across, _), (down, _) = self._near(frame, xy)
        return torch.einsum("na,nb,nabc->nc", down, across, near)

    def jacobian(self, frame: Tensor, xy: Tensor) -> Tensor:
        """d(u, v) / d(x, y), [N, 2, 2], exact: the spline's own slopes."""
        near, (across, lean), (down, drop) = self._near(frame, xy)
        by_x = torch.einsum("na,nb,nabc->nc", down, lean, near)
        by_y = torch.einsum("na,nb,nabc->nc", drop, across, near)
        per_pixel = torch.tensor([self.intervals[1], self.intervals[0]], device=xy.device) / self.windows[frame, 2:]
        return torch.stack([by_x, by_y], dim=-1) * per_pixel[:, None]

    def uv_of_rows(self, frames: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """(u, v) [F, R, C, 2] where rows [F, R] and columns [C] cross, in frames int64 [F]: cheaper than `uv`."""
        place = [self._in_window(frames, axis, at) for axis, at in ((0, columns.expand(len(frames), -1)), (1, rows))]
        across, down = (splines.matrix(p, n) for p, n in zip(place, self.intervals[::-1], strict=True))
        control = self.control[frames]
        crossed = down @ control.flatten(2)
        crossed = crossed.view(*rows.shape, *control.shape[2:]).movedim(2, 3).flatten(1, 2)
        return (crossed @ across.mT).view(*rows.shape, 2, -1).movedim(2, 3)

    def colours(self, uv: Tensor) -> Tensor:
        """Bilinear colours [..., 3] of the picture at (u, v) [..., 2]; its border is repeated outwards."""
        size = torch.tensor(self.picture.shape[:1:-1], device=uv.device)
        place = (uv.reshape(1, -1, 1, 2) - self.origin) * self.texels / (size - 1) * 2 - 1
        found = functional.grid_sample(self.picture, place, align_corners=True, padding_mode="border")
        return found[0, :, :, 0].T.view(*uv.shape[:-1], 3)

    @torch.no_grad()
    def xy(self, frame: Tensor, uv: Tensor) -> Tensor:
        """The way back: where (u, v) [N, 2] is in the frames int64 [N], [N, 2], by Newton's method with the exact
        Jacobian from the nearest of a few places of the window. Outside the window it goes on linearly."""
        down, across = (torch.linspace(0, 1, _COARSE, device=uv.device) for _ in range(2))
        square = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1).view(-1, 2)
        starts = self.windows[frame, None, :2] + square * self.windows[frame, None, 2:]
        every = frame.repeat_interleave(len(square))
        apart = (self.uv(every, starts.reshape(-1, 2)).view(starts.shape) - uv[:, None]).square().sum(-1)
        xy = starts[torch.arange(len(uv)), apart.argmin(1)]
        reach = self.windows[frame, 2:].amax(1)
        for _ in range(_STEPS):
            step = solved(self.jacobian(frame, xy), uv - self.uv(frame, xy))
            # far from the answer a step can be wild
            xy = xy + step * (reach / step.norm(dim=1).clamp_min(1e-6)).clamp(max=1)[:, None]
        return xy

    def _near(self, frame: Tensor, xy: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The 4 x 4 control points [N, 4, 4, 2] that places xy [N, 2] rest on; weights and slopes [N, 4] by x, by y."""
        place = (xy - self.windows[frame, :2]) / self.windows[frame, 2:]
        column, across, lean = splines.weights(place[:, 0] * self.intervals[1], self.intervals[1])
        row, down, drop = splines.weights(place[:, 1] * self.intervals[0], self.intervals[0])
        four = torch.arange(4, device=xy.device)
        rows, columns = row[:, None, None] + four[:, None], column[:, None, None] + four
        return self.control[frame[:, None, None], rows, columns], (across, lean), (down, drop)

    def _in_window(self, frames: Tensor, axis: int, at: Tensor) -> Tensor:
        """Places at [F, K] along one axis, in intervals of the windows."""
        start, length = self.windows[frames, axis, None], self.windows[frames, axis + 2, None]
        return (at - start) / length * self.intervals[1 - axis]


def solved(jacobian: Tensor, wanted: Tensor) -> Tensor:
    """The steps [N, 2] that jacobian [N, 2, 2] takes to wanted [N, 2]; short ones where it is all but singular."""
    (a, b), (c, d) = jacobian[:, 0].unbind(-1), jacobian[:, 1].unbind(-1)
    det = a * d - b * c
    det = torch.where(det.abs() < 1e-6, torch.full_like(det, 1e-6), det)
    u, v = wanted.unbind(-1)
    return torch.stack([d * u - b * v, a * v - c * u], dim=-1) / det[:, None]
