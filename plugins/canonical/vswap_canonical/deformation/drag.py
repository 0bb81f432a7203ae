"""A drag carried by a fitted deformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vswap_canonical.deformation.layers import Deformation, inverse

_TINY = 1e-9  # square pixels: keeps a subject of one pixel solvable
_PRIOR = (1e-2, 1e-2, 0.1, 0.1)
"""Ridge on a and b of a local map a z + b conj(z), as shares of the evidence: it pulls a to that of the frame's affine
map and b to 0, for how a thin subject is squashed across can't be told from its own places."""


def carried_drags(
    deformation: Deformation, places: Tensor, frame: int, start: Tensor, offset: Tensor, reach: float
) -> Tensor:
    """Displacements float32 [T, N, 2] of points `start` [N, 2] px that are dragged by `offset` [N, 2] px on `frame`.

    Each is M_t(q) - M_t(p), with M_t the moving least squares of g_t^-1 . g_k on the subject (Schaefer et al., "Image
    Deformation Using Moving Least Squares", SIGGRAPH 2006, section 2.1): at each place, the affine map that fits the
    deformation best around it (nearly a similarity where little is told, see `_PRIOR`). So a move over the subject goes
    with the parts under both of its ends; one that leaves it, to where the deformation isn't trained, with the local
    frame of the subject's nearest place; and neither with what swings on its own over less than `reach`.

    Args:
        deformation, places: what was fitted, and canonical places [S, 2] on the subject.
        reach: deviation of the Gaussian window, in canonical units.
    """
    both = torch.cat([start, start + offset])
    before, after = _moving_least_squares(deformation, places, frame, both, reach).chunk(2, dim=1)
    return after - before


def _moving_least_squares(deformation: Deformation, places: Tensor, frame: int, points: Tensor, reach: float) -> Tensor:
    """Where points [N, 2] px of `frame` go in every frame: [T, N, 2]."""
    count = len(deformation.maps)
    everywhere = deformation.from_canonical(places.expand(count, -1, -1).contiguous(), torch.arange(count))  # [T, S, 2]
    here = everywhere[frame]
    spread = reach * torch.linalg.det(deformation.maps[frame, :, :2]).abs().rsqrt()  # px
    nearest = here[torch.cdist(points, here).argmin(1)]
    weight = torch.softmax(torch.cdist(nearest, here).square() / (-2 * spread**2), dim=1)  # [N, S]
    middle, goal = weight @ here, weight @ everywhere  # [N, 2], [T, N, 2]
    columns = _columns(here - middle.unsqueeze(1))  # [N, S, 2, 4]
    weighed = weight[..., None, None] * columns
    normal = torch.einsum("nsic,nsid->ncd", weighed, columns)
    prior = normal.diagonal(dim1=1, dim2=2) * torch.tensor(_PRIOR)
    whole = inverse(deformation.maps[..., :2]) @ deformation.maps[frame, :, :2]  # [T, 2, 2], of A_t^-1 . A_k
    likely = torch.stack([whole[:, 0, 0] + whole[:, 1, 1], whole[:, 1, 0] - whole[:, 0, 1]], -1) / 2
    likely = nn.functional.pad(likely, (0, 2)).unsqueeze(1)  # [T, 1, 4]
    found = torch.einsum("tsi,nsic->tnc", everywhere, weighed) + prior * likely
    solved: Tensor = torch.linalg.solve(normal + torch.diag_embed(prior + _TINY), found.unsqueeze(-1))  # [T, N, 4, 1]
    return goal + (_columns(points - middle) @ solved).squeeze(-1)


def _columns(arms: Tensor) -> Tensor:
    """Of arms z = (x, y) [..., 2], the columns [..., 2, 4] of a similarity's and a mirrored one's parameters: those of
    a z + b conj(z)."""
    x, y = arms.unbind(-1)
    return torch.stack([torch.stack([x, -y, x, y], -1), torch.stack([y, x, -y, x], -1)], -2)
