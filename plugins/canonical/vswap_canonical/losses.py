"""The losses of a layered neural atlas, as values per sample: pure functions of tensors.

Source: Kasten et al., "Layered Neural Atlases for Consistent Video Editing" (SIGGRAPH Asia 2021, arXiv 2109.11418),
section 3. Callers take means, masks and weights; Jacobians may be exact or finite differences.
"""

from __future__ import annotations

import torch
from torch import Tensor

STABILISER = 1e-3
"""What the reference adds to the diagonal of J^T J before it inverts it."""


def colour_error(rendered: Tensor, seen: Tensor) -> Tensor:
    """[N]: squared distance of colours [N, 3]. For `seen` the video's, it is the reconstruction loss; for changes from
    a pixel to the next, one axis of the gradient loss."""
    return (rendered - seen).square().sum(1)


def sparsity(foreground: Tensor, opacity: Tensor) -> Tensor:
    """[N]: the squared foreground colour [N, 3] that opacity [N, 1] hides: the atlas is to keep only what is seen."""
    return ((1 - opacity) * foreground).square().sum(1)


def bootstrap(opacity: Tensor, mask: Tensor) -> Tensor:
    """[N]: binary cross-entropy of opacity [N] within 0..1 against a mask [N]."""
    return -mask * opacity.log() - (1 - mask) * (1 - opacity).log()


def rigidity(jacobian: Tensor, stabiliser: float = STABILISER) -> Tensor:
    """[N]: |J^T J| + |(J^T J + stabiliser I)^-1|, Frobenius norms, of Jacobians [N, 2, 2] of (u, v) by (x, y).

    It is least, 2 sqrt(2), where a mapping turns without stretching. The determinant is taken from J itself, for that
    of J^T J loses all its digits where J is nearly singular.
    """
    metric = jacobian.transpose(1, 2) @ jacobian
    trace = metric[:, 0, 0] + metric[:, 1, 1]
    determinant = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
    steadied = metric + stabiliser * torch.eye(2, device=metric.device, dtype=metric.dtype)
    # the inverse of a 2x2 matrix has the matrix's own norm over its determinant
    inverse = norm(steadied.flatten(1)) / (determinant.square() + stabiliser * trace + stabiliser**2)
    return norm(metric.flatten(1)) + inverse


def distance(here: Tensor, there: Tensor) -> Tensor:
    """[N]: distance of coordinates [N, D]: of (u, v) where the flow leads from (u, v) here, the flow loss; of what the
    inverse gives from where it started, the inverse loss."""
    return norm(here - there)


def opacity_change(here: Tensor, there: Tensor) -> Tensor:
    """[N]: by how much opacity [N] changes along the flow."""
    return (here - there).abs()


def norm(vectors: Tensor) -> Tensor:
    """Euclidean length [N] of vectors [N, D]."""
    lengths: Tensor = vectors.norm(dim=1)
    return lengths
