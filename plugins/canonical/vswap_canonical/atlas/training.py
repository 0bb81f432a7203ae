"""One step of the joint optimisation of an atlas: which pixels it looks at, and what it asks of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vswap_canonical import losses
from vswap_canonical.atlas.clip import Clip
from vswap_canonical.atlas.layer import Layer
from vswap_canonical.atlas.model import Atlas
from vswap_canonical.atlas.start import Anchors

_FRAMES = 6
"""Frames of one step."""
_ROWS = 36
"""Rows of each, half of them through the subject."""
_PAIRS = 2048
"""Pixels of each layer whose motion is compared with the flow."""
_TRACKED = 256
"""Pairs of places of tracked points."""
_FAR = 24.0
"""Pixels of the coarser of the two scales of rigidity; the other is the Jacobian's own."""
_SEEN = 0.01
"""Opacity, or what is left of it, below which a layer isn't looked at."""
_HELD_OUT = 32
"""One pixel of so many is never learned from: the validation."""


@dataclass(frozen=True)
class Weights:
    """Of the losses, each a mean over its samples. Colours are in 0..1, distances in pixels of the atlas."""

    colour: float = 100.0
    gradient: float = 30.0
    flow: float = 0.3
    tracks: float = 0.3
    rigidity: float = 0.01
    opacity: float = 0.02
    sparsity: float = 0.02
    light: float = 0.3


@dataclass(frozen=True, eq=False)
class Material:
    """A clip as tensors on the device that it is learned on: frames uint8 [T, h, w, 3], subject bool [T, h, w], flow
    float16 [T - 1, h, w, 2] and how far to be believed float16 [T - 1, h, w] in 0..1, the boxes (first and last row)
    [T, 2] of the subject, its tracked points float32 [T, N, 2] and where they are seen bool [T, N]."""

    frames: Tensor
    subject: Tensor
    ahead: Tensor
    belief: Tensor
    rows: Tensor
    tracks: Tensor
    visible: Tensor

    @classmethod
    def of(cls, clip: Clip, device: str) -> Material:
        seen = np.asarray(clip.subject.any(2))
        first, last = seen.argmax(1), seen.shape[1] - seen[:, ::-1].argmax(1)
        believed = [holds * clip.texture(t) for t, holds in enumerate(clip.flow.ahead_holds)]
        belief = np.stack(believed).astype(np.float16) if believed else np.zeros((0, *seen.shape[1:], 0), np.float16)
        anchors = Anchors.of(clip)
        arrays = (
            clip.frames,
            clip.subject,
            clip.flow.ahead.astype(np.float16),
            belief,
            np.stack([first, last], axis=1),
        )
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        return cls(*(tensor.to(device) for tensor in (*tensors, anchors.xy, torch.from_numpy(anchors.visible))))


def held_out(frames: Tensor, rows: Tensor, width: int) -> Tensor:
    """bool [F, R, width]: the pixels of rows int64 [F, R] that are kept for validation, scattered evenly."""
    columns = torch.arange(width, device=rows.device)
    return (columns * 7 + rows[..., None] * 13 + frames[:, None, None] * 29) % _HELD_OUT == 0


def step_loss(atlas: Atlas, material: Material, weights: Weights, generator: torch.Generator) -> Tensor:
    """The weighted sum of all losses on random rows of random frames."""
    height, width = atlas.size
    device = atlas.prior.device
    frames = torch.randint(len(atlas.prior), (_FRAMES,), generator=generator).to(device)
    rows = _rows(material.rows[frames], height, generator).to(device)
    opacity, light = atlas.opacity(frames, rows), atlas.light_of(frames, rows)
    seen = material.frames[frames[:, None], rows].float() / 255
    mixed, total = light, opacity.new_zeros(())
    for layer, share in ((atlas.subject, opacity), (atlas.background, 1 - opacity)):
        shown = share > _SEEN
        uv = layer.uv_of_rows(frames, rows, torch.arange(width, device=device))[shown]
        colours = layer.colours(uv)
        mixed = mixed + share[..., None] * torch.zeros_like(seen).masked_scatter(shown[..., None], colours)
        if layer is atlas.subject and weights.sparsity:
            total = total + weights.sparsity * losses.sparsity(colours, share[shown][:, None]).mean()
        which, row, column = shown.nonzero(as_tuple=True)
        place = torch.stack([column, rows[which, row]], dim=1)
        total = total + _motion_losses(layer, material, (frames[which], place, uv, share[shown]), weights, generator)
    total = total + weights.tracks * _track_loss(atlas.subject, material, generator)
    learned = ~held_out(frames, rows, width)
    total = total + weights.colour * losses.colour_error(mixed[learned], seen[learned]).mean()
    slope = learned[..., 1:] & learned[..., :-1]
    change = losses.colour_error(
        (mixed[..., 1:, :] - mixed[..., :-1, :])[slope], (seen[..., 1:, :] - seen[..., :-1, :])[slope]
    )
    told = material.subject[frames[:, None], rows].float()
    cross = losses.bootstrap(opacity.clamp(1e-4, 1 - 1e-4), told).mean()
    return total + weights.gradient * change.mean() + weights.opacity * cross + weights.light * light.square().mean()


def _rows(extent: Tensor, height: int, generator: torch.Generator) -> Tensor:
    """Rows int64 [F, R] of frames whose subject reaches over `extent` [F, 2]."""
    anywhere = torch.randint(height, (len(extent), _ROWS // 2), generator=generator)
    share = torch.rand(len(extent), _ROWS - _ROWS // 2, generator=generator)
    first, last = extent.cpu().unbind(1)
    within = (first[:, None] + share * (last - first)[:, None]).long().clamp(0, height - 1)
    return torch.cat([within, anywhere], 1)


def _motion_losses(
    layer: Layer,
    material: Material,
    samples: tuple[Tensor, Tensor, Tensor, Tensor],
    weights: Weights,
    generator: torch.Generator,
) -> Tensor:
    """Flow and rigidity of some of a layer's samples: frames [N], pixels (x, y) int64 [N, 2], (u, v) [N, 2],
    shares [N]."""
    count = len(samples[0])
    if count == 0:
        return samples[3].new_zeros(())
    some = torch.randint(count, (min(_PAIRS, count),), generator=generator).to(samples[0].device)
    frame, pixel, uv, share = (each[some] for each in samples)
    (x, y), xy = pixel.unbind(1), pixel.float()
    total = _rigidity(layer, frame, xy, share.detach()) * weights.rigidity
    followed = frame < len(material.ahead)
    if not followed.any():
        return total
    frame, xy, uv, share, x, y = (each[followed] for each in (frame, xy, uv, share, x, y))
    there = layer.uv(frame + 1, xy + material.ahead[frame, y, x].float())
    believed = share.detach() * material.belief[frame, y, x].float()
    return total + weights.flow * (believed * losses.distance(uv, there)).mean()


def _track_loss(layer: Layer, material: Material, generator: torch.Generator) -> Tensor:
    """Tracked points lie at one (u, v), in whichever two frames."""
    frame, point = material.visible.nonzero(as_tuple=True)
    if not len(frame):
        return material.tracks.new_zeros(())
    some = torch.randint(len(frame), (min(_TRACKED, len(frame)),), generator=generator).to(frame.device)
    frame, point = frame[some], point[some]
    other = torch.randint(len(material.visible), (len(some),), generator=generator).to(frame.device)
    both = material.visible[other, point]
    if not both.any():
        return material.tracks.new_zeros(())
    here, there = (layer.uv(at[both], material.tracks[at[both], point[both]]) for at in (frame, other))
    return losses.distance(here, there).mean()


def _rigidity(layer: Layer, frame: Tensor, xy: Tensor, share: Tensor) -> Tensor:
    """How far the maps are from turning, moving and growing only, at two scales (Kasten et al., eq. 8): each as large
    as in the reference is no demand, for subjects come nearer."""
    near = layer.jacobian(frame, xy)
    arms = torch.tensor([[_FAR, 0.0], [0.0, _FAR]], device=xy.device)
    far = torch.stack([layer.uv(frame, xy + arm) - layer.uv(frame, xy - arm) for arm in arms], dim=-1) / (2 * _FAR)
    total = xy.new_zeros(())
    for jacobian in (near, far):
        metric = jacobian.transpose(1, 2) @ jacobian
        growth = torch.linalg.det(jacobian).abs().clamp_min(1e-3)
        # 1 where both axes grow alike and stay upright to each other
        total = total + (share * ((metric[:, 0, 0] + metric[:, 1, 1]) / (2 * growth)).clamp(max=10)).mean()
    return total
