"""What training minimises: as in TAPIR and CoTracker, a Huber loss of places and a cross-entropy of visibility at
every step of the prediction, later steps counting more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vswap_toybox.tracking.clips import Batch
from vswap_toybox.tracking.encoder import COARSE, FINE
from vswap_toybox.tracking.model import Prediction

_DISCOUNT = 0.7
_HIDDEN = 0.1  # weight of a place that can't be seen
_BEND = 0.5  # fine cells of error at which the Huber loss becomes linear
_VISIBILITY, _HEAT = 0.5, 0.1


def tracking_loss(predicted: Prediction, truth: Batch) -> Tensor:
    """A scalar. Query frames don't count: the answer is given there."""
    height, width = truth.video.shape[3:]
    frames = torch.arange(truth.xy.shape[2])
    asked = (frames == truth.queries[..., :1]).float()
    seen = truth.visible.float() * (1 - asked)
    limit = torch.tensor([width, height])
    # nothing in the picture tells how far beyond its border a point has gone
    near = ((truth.xy > -limit / 4) & (truth.xy < limit * 1.25)).all(-1).float()
    weight = seen + _HIDDEN * near * (1 - seen) * (1 - asked)
    last = len(predicted.steps) - 1
    total = _HEAT * _heat_loss(predicted.heat, truth, seen)
    for number, step in enumerate(predicted.steps):
        places = weight if number else seen
        error = functional.huber_loss(step.xy / FINE, truth.xy / FINE, reduction="none", delta=_BEND).sum(-1)
        logit = functional.binary_cross_entropy_with_logits(step.visible, truth.visible.float(), reduction="none")
        loss = _mean(error, places) + _VISIBILITY * _mean(logit, 1 - asked)
        total = total + _DISCOUNT ** (last - number) * loss
    return total


def _heat_loss(heat: Tensor, truth: Batch, seen: Tensor) -> Tensor:
    """Cross-entropy of the cell, its truth shared between the four cells around the place."""
    height, width = truth.video.shape[3:]
    rows, columns = -(-height // COARSE), -(-width // COARSE)
    place = truth.xy / COARSE
    corner = place.floor()
    beyond = place - corner
    likelihood, loss = torch.log_softmax(heat, -1), torch.zeros_like(seen)
    for right in (0, 1):
        for down in (0, 1):
            share_x = beyond[..., 0] if right else 1 - beyond[..., 0]
            share_y = beyond[..., 1] if down else 1 - beyond[..., 1]
            column = (corner[..., 0].long() + right).clamp(0, columns - 1)
            row = (corner[..., 1].long() + down).clamp(0, rows - 1)
            cell = likelihood.gather(-1, (row * columns + column)[..., None])[..., 0]
            loss = loss - share_x * share_y * cell
    return _mean(loss, seen)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)
