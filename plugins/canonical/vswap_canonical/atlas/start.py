"""Where the fit of an atlas starts: maps that follow the flow from frame to frame, each fitted in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vswap_canonical.atlas import splines
from vswap_canonical.atlas.clip import Clip
from vswap_canonical.atlas.layer import Layer
from vswap_canonical.atlas.model import Atlas
from vswap_kernel.types import BoolArray, FloatArray

_SUBJECT_INTERVALS = (12, 12)
_BACKGROUND_SPACING = 24
"""Pixels."""
_SAMPLES = 3000
"""Pixels of one frame that a map is fitted to, at most."""
_FEWEST = 12
_SUBJECT_STIFFNESS, _BACKGROUND_STIFFNESS = 3e-3, 3e-4
"""The subject has edges and plain paint, where only its other parts tell how it moves."""
_STAY = 1e-6
_ANCHOR = 0.5
"""Weight of all anchors of a frame together, over that of all its pixels."""
_ROBUST = 1.0
"""Pixels of the atlas off that cost a pixel half of its weight, at least; where most are off by more, it's twice the
median: an atlas can show a subject larger than the frame does."""
_SURE = 6.0
"""Logit of the opacity this far (pixels) inside a mask's edge, and as much less outside."""


def started(clip: Clip) -> Atlas:
    """An atlas whose maps follow the flow; its pictures are still to be made. The reference frame of the subject is the
    one with the most of it, for there its picture has the most detail; that of the background is the middle one."""
    count, height, width = clip.subject.shape
    whole = torch.tensor([0.0, 0.0, width - 1, height - 1]).repeat(count, 1)
    spacing = (max(2, round(height / _BACKGROUND_SPACING)), max(2, round(width / _BACKGROUND_SPACING)))
    subject = Layer(subject_windows(clip.subject), _SUBJECT_INTERVALS)
    background = Layer(whole, spacing)
    subject.stiffness.fill_(_SUBJECT_STIFFNESS)
    background.stiffness.fill_(_BACKGROUND_STIFFNESS)
    everywhere = Anchors.of(clip)
    follow(subject, clip.inner, clip, int(clip.subject.sum((1, 2)).argmax()), everywhere)
    follow(background, clip.behind, clip, count // 2, everywhere.none())
    return Atlas(subject, background, mask_logits(clip.subject))


def subject_windows(subject: BoolArray) -> Tensor:
    """The subject's boxes float32 [T, 4] with a margin; where it isn't seen, that of the nearest frame where it is."""
    seen = np.flatnonzero(subject.any((1, 2)))
    boxes = np.zeros((len(subject), 4), np.float32)
    for t in seen:
        y, x = np.nonzero(subject[t])
        low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
        margin = 3 + 0.1 * (high - low)
        boxes[t] = [*(low - margin), *(high - low + 2 * margin)]
    nearest = seen[abs(np.arange(len(subject))[:, None] - seen).argmin(1)]
    return torch.from_numpy(boxes[nearest])


def mask_logits(subject: BoolArray) -> Tensor:
    """float16 [T, h, w]: 0 at the masks' edges, rising and falling with the distance from them (pixels) to +-6."""

    def distance(mask: BoolArray) -> FloatArray:
        return np.asarray(
            cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1, mode="edge"), cv2.DIST_L2, 5)[1:-1, 1:-1]
        )

    logits = [np.clip(distance(mask) - distance(~mask), -_SURE, _SURE) for mask in subject]
    return torch.from_numpy(np.stack(logits).astype(np.float16))


@dataclass(frozen=True, eq=False)
class Anchors:
    """Tracked points as what ties a frame to all others. xy float32 [T, N, 2], visible bool [T, N]."""

    xy: Tensor
    visible: BoolArray

    @classmethod
    def of(cls, clip: Clip) -> Anchors:
        """Those of the clip, where they are on the subject."""
        height, width = clip.subject.shape[1:]
        x, y = clip.tracks.round().astype(int).transpose(2, 0, 1).clip(0, [[[width - 1]], [[height - 1]]])
        on_it = clip.subject[np.arange(len(clip.tracks))[:, None], y, x]
        return cls(torch.from_numpy(clip.tracks), clip.visible & on_it)

    def none(self) -> Anchors:
        """No points, as many frames."""
        return Anchors(self.xy[:, :0], self.visible[:, :0])

    def goals(self, layer: Layer, t: int, fitted: list[int]) -> tuple[Tensor, Tensor]:
        """(places in frame t [M, 2], the (u, v) [M, 2] that the layer gives them in the first of the frames `fitted`
        that shows them too)."""
        seen = self.visible[fitted]
        both = np.flatnonzero(self.visible[t] & seen.any(0))
        first = torch.tensor(np.asarray(fitted)[seen[:, both].argmax(0)], dtype=torch.long)
        return self.xy[t, both], layer.uv(first, self.xy[first, both])


@torch.no_grad()
def follow(layer: Layer, inner: BoolArray, clip: Clip, reference: int, anchors: Anchors) -> None:
    """Fit the layer's maps one after the other, from the reference frame outwards: each pixel `inner` [T, h, w] of a
    frame goes to where the flow's other end lies in the frame that was fitted before, and each anchor to where it was
    when it was first fitted, so that it doesn't drift."""
    fitted_before = [reference]
    for t, before in _outwards(reference, len(inner)):
        forwards = t > before
        flow = clip.flow.back[before] if forwards else clip.flow.ahead[t]
        holds = clip.flow.back_holds[before] if forwards else clip.flow.ahead_holds[t]
        xy = sampled(holds & inner[t])
        to = xy + flow[xy[:, 1], xy[:, 0]]
        x, y = to.round().astype(int).T
        kept = inner[before, y.clip(0, inner.shape[1] - 1), x.clip(0, inner.shape[2] - 1)]
        xy, to = xy[kept], torch.from_numpy(to[kept].astype(np.float32))
        goal = layer.uv(torch.full((len(to),), before), to)
        layer.control[t] = layer.control[before]
        layer.control[t] = refitted(layer, t, clip, xy, goal, anchors.goals(layer, t, fitted_before))
        fitted_before.append(t)


def _outwards(reference: int, count: int) -> Iterator[tuple[int, int]]:
    """Pairs of (a frame, its neighbour nearer to the reference)."""
    yield from ((t, t - 1) for t in range(reference + 1, count))
    yield from ((t, t + 1) for t in range(reference - 1, -1, -1))


def sampled(pixels: BoolArray) -> NDArray[np.intp]:
    """Evenly drawn (x, y) [N, 2] of the marked pixels [h, w]."""
    y, x = np.nonzero(pixels)
    step = max(1, -(-len(x) // _SAMPLES))
    return np.stack([x, y], axis=1)[::step]


def refitted(
    layer: Layer, t: int, clip: Clip, xy: NDArray[np.intp], goal: Tensor, anchored: tuple[Tensor, Tensor]
) -> Tensor:
    """Control points [rows, columns, 2] of frame t that take pixels xy [N, 2] to goal [N, 2], as far as their texture
    lets them be believed, and anchors to theirs; as they are where there is too little of both."""
    texture = torch.from_numpy(clip.texture(t)[xy[:, 1], xy[:, 0]])
    points, ends = anchored
    if float(texture.sum()) + len(points) < _FEWEST:
        return layer.control[t].detach().clone()
    belief = torch.cat(
        [texture, torch.full((len(points),), _ANCHOR * max(float(texture.sum()), 1.0) / max(len(points), 1))]
    )
    places = torch.cat([torch.from_numpy(xy.astype(np.float32)), points])
    return fitted(layer, t, places, torch.cat([goal, ends]), belief)


def fitted(layer: Layer, t: int, xy: Tensor, goal: Tensor, belief: Tensor) -> Tensor:
    """Control points [rows, columns, 2] of frame t that take xy [N, 2] to goal [N, 2], bending as little as they can:
    least squares weighted by belief [N], twice, the second time with Cauchy weights of what the first leaves."""
    (down, across), window = layer.intervals, layer.windows[t]
    rows = splines.matrix((xy[:, 1] - window[1]) / window[3] * down, down)
    columns = splines.matrix((xy[:, 0] - window[0]) / window[2] * across, across)
    design = (rows[:, :, None] * columns[:, None, :]).flatten(1)
    stiff = layer.stiffness * splines.bending(rows.shape[1], columns.shape[1]) + _STAY * torch.eye(design.shape[1])
    held = _STAY * layer.control[t].flatten(0, 1)
    weight = belief
    for _ in range(2):
        share = (weight / weight.sum())[:, None]
        control = torch.linalg.solve(design.T @ (share * design) + stiff, design.T @ (share * goal) + held)
        off = (goal - design @ control).norm(dim=1)
        weight = belief / (1 + (off / (2 * off.median()).clamp(min=_ROBUST)).square())
    found: Tensor = control.view(rows.shape[1], columns.shape[1], 2)
    return found
