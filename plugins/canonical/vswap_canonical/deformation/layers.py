"""A time-conditioned, invertible deformation of the plane: from every frame to one canonical frame and back.

    g_t = layer_L . ... . layer_1 . A_t

`A_t` is an affine map for each frame. A layer is an affine coupling (Dinh et al., "Density estimation using Real NVP",
ICLR 2017, eq. 7 and 8) in axes (u, v) turned by its own angle: u stays, and v becomes v * exp(s_t(u)) + b_t(u), so its
inverse is as cheap and as exact as itself. That a video's deformation be invertible by construction is OmniMotion's
(Wang et al., "Tracking Everything Everywhere All at Once", ICCV 2023), and one canonical frame with one deformation for
each time CoDeF's (Ouyang et al., CVPR 2024). Here `s_t` and `b_t` aren't networks: they are cubic B-splines in u with
one row of coefficients a frame, which learn in seconds on a CPU, are smooth as they stand, and can be held still in
time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

REACH = 1.5  # the splines' knots run from -REACH to REACH, in canonical units; beyond, their value stays


class Deformation(nn.Module):
    """The deformation of T frames.

    Canonical places are in units of the subject's half size, with its centre on the reference frame as origin. On the
    reference frame g_t is just that change of units.

    Attributes:
        maps: float32 [T, 2, 3], A_t, from pixels to canonical units; they aren't learned.
        free: float32 [T, 1, 1], 0 on the reference frame, 1 elsewhere.
        tables: parameter [L, T, K, 2], the coefficients of s_t and b_t of each layer.
    """

    def __init__(self, maps: Tensor, reference: int, layers: int, knots: int) -> None:
        super().__init__()
        frames = len(maps)
        free = torch.ones(frames, 1, 1)
        free[reference] = 0
        self.maps, self.free = nn.Buffer(maps.float().contiguous()), nn.Buffer(free)
        self.tables = nn.Parameter(torch.zeros(layers, frames, knots, 2))
        angles = torch.tensor([math.pi * _spread_out(layer) for layer in range(layers)])
        cosine, sine = angles.cos(), angles.sin()
        self.turns = nn.Buffer(torch.stack([cosine, -sine, sine, cosine], -1).reshape(-1, 2, 2), persistent=False)

    def to_canonical(self, xy: Tensor, frames: Tensor) -> Tensor:
        """Pixels [B, M, 2] of frames int64 [B], to canonical places."""
        maps = self.maps[frames]
        places = xy @ maps[..., :2].mT + maps[..., 2].unsqueeze(1)
        for turn, table in zip(self.turns, self._rows(frames), strict=True):
            u, v = (places @ turn).unbind(-1)
            scale, shift = (_basis(u, table.shape[1]) @ table).unbind(-1)
            places = torch.stack([u, v * scale.exp() + shift], -1) @ turn.T
        return places

    def from_canonical(self, places: Tensor, frames: Tensor) -> Tensor:
        """The inverse: canonical places [B, M, 2], to pixels of frames int64 [B]."""
        for turn, table in reversed([*zip(self.turns, self._rows(frames), strict=True)]):
            u, v = (places @ turn).unbind(-1)
            scale, shift = (_basis(u, table.shape[1]) @ table).unbind(-1)
            places = torch.stack([u, (v - shift) * (-scale).exp()], -1) @ turn.T
        maps = self.maps[frames]
        return (places - maps[..., 2].unsqueeze(1)) @ inverse(maps[..., :2]).mT

    def carry(self, xy: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Where pixels [B, M, 2] of frames `source` are in frames `target`, both int64 [B]."""
        return self.from_canonical(self.to_canonical(xy, source), target)

    def stretch(self, places: Tensor, frames: Tensor) -> Tensor:
        """Exact Jacobians [B, M, 2, 2] of the inverted layers (without the affine maps) at canonical places [B, M, 2],
        by the chain rule."""
        whole = torch.eye(2, dtype=places.dtype).expand(*places.shape, 2)
        for turn, table in reversed([*zip(self.turns, self._rows(frames), strict=True)]):
            u, v = (places @ turn).unbind(-1)
            scale, shift = (_basis(u, table.shape[1]) @ table).unbind(-1)
            scale_slope, shift_slope = (_basis_slope(u, table.shape[1]) @ table).unbind(-1)
            shrunk, moved = (-scale).exp(), (v - shift) * (-scale).exp()
            places = torch.stack([u, moved], -1) @ turn.T
            along_u, along_v = (turn.T @ whole).unbind(-2)
            slope = -(shift_slope * shrunk + scale_slope * moved)
            bent = slope.unsqueeze(-1) * along_u + shrunk.unsqueeze(-1) * along_v
            whole = turn @ torch.stack([along_u, bent], -2)
        return whole

    def _rows(self, frames: Tensor) -> tuple[Tensor, ...]:
        return (self.tables * self.free)[:, frames].unbind(0)


def _spread_out(layer: int) -> float:
    """0, 1/2, 1/4, 3/4, 1/8, ...: angles in half turns, those of any first few layers far apart (van der Corput)."""
    return sum(float(bit) / 2.0 ** (place + 1) for place, bit in enumerate(reversed(f"{layer:b}")))


def _basis(u: Tensor, count: int) -> Tensor:
    """`count` uniform cubic B-splines on -REACH..REACH at u [...]: [..., count]. Beyond, they stay as at the ends."""
    off = _off_knots(u, count).abs()
    return ((2 - off).clamp(min=0) ** 3 - 4 * (1 - off).clamp(min=0) ** 3) / 6


def _basis_slope(u: Tensor, count: int) -> Tensor:
    """Their derivatives."""
    off = _off_knots(u, count)
    size = off.abs()
    slope = (4 * (1 - size).clamp(min=0) ** 2 - (2 - size).clamp(min=0) ** 2) * off.sign() / 2
    return slope * (u.abs() < REACH).unsqueeze(-1) * ((count - 3) / (2 * REACH))


def _off_knots(u: Tensor, count: int) -> Tensor:
    """How many knots each u [...] is off each of them: [..., count]. The first and the last one only shape the ends."""
    at = (u.clamp(-REACH, REACH) / REACH + 1) * ((count - 3) / 2) + 1
    return at.unsqueeze(-1) - torch.arange(count, dtype=u.dtype)


def inverse(linear: Tensor) -> Tensor:
    """Inverse of [..., 2, 2], in closed form."""
    (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c)[..., None, None]
