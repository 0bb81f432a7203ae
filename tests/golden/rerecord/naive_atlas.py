"""The layered atlas written out: its networks, a drag carried point by point and frame by frame, and one training step.

Independent of our code. Gradients are autograd's, Adam is torch's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]
FACTORS = {
    "gradient_loss": 1000,
    "rgb_loss": 5000,
    "alpha_loss": 2000,
    "sparsity_loss": 1000,
    "rigidity_loss_fg": 1,
    "rigidity_loss_bg": 1,
    "global_rigidity_loss_fg": 5,
    "global_rigidity_loss_bg": 50,
    "flow_loss_fg": 5,
    "flow_loss_bg": 5,
    "flow_alpha_loss": 49,
}


@dataclass
class NaiveAtlas:
    """weights and models by the reference's names of the networks; size is (width, height)."""

    weights: dict[str, dict[str, Tensor]]
    models: Mapping[str, Mapping[str, Any]]
    size: tuple[int, int]
    frames: int

    def __call__(self, name: str, places: Tensor) -> Tensor:
        model, weights = self.models[name], self.weights[name]
        if model["pe_type"] == "encoding":
            waves = []
            for octave in range(model["pe_dim"]):
                waves += [(places * 2**octave * math.pi).sin(), (places * 2**octave * math.pi).cos()]
            places = torch.cat(waves, 1)
        values = places
        for layer in range(model["mlp_layers"]):
            if layer > 0:
                values = values.clamp(min=0)
            if layer in model["skip_layers"]:
                values = torch.cat([values, places.detach()], 1)
            values = values @ weights[f"hidden.{layer}.weight"].T + weights[f"hidden.{layer}.bias"]
        return values.tanh()

    @property
    def half(self) -> float:
        return max(self.size) / 2

    def at(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        return torch.stack([x / self.half - 1, y / self.half - 1, t / (self.frames / 2) - 1], 1)

    def slopes(self, name: str, place: Tensor) -> Tensor:
        """[2, 2]: row i, by how much the first two values grow along axis i, at one place [3]."""
        rows = []
        for axis, step in ((0, 0.1), (1, 0.05)):
            there = place.clone()
            there[axis] += step
            rows.append((self(name, there[None]) - self(name, place[None]))[0, :2] / step)
        return torch.stack(rows)

    @torch.no_grad()
    def dragged(self, source: Sequence[float], target: Sequence[float], keyframe: int) -> tuple[Tensor, Tensor, Tensor]:
        """(move [F, 2] in the network's units, place [F, 2] px, opacity [F]) of one point (x, y)."""
        start = torch.tensor([source[0] / self.half - 1, source[1] / self.half - 1, keyframe / (self.frames / 2) - 1])
        drag = torch.tensor([(target[axis] - source[axis]) / self.half for axis in range(2)])
        uv, in_uv = self("FG_UV_Mapping", start[None])[0], drag @ self.slopes("FG_UV_Mapping", start)
        moves, places, opacities = [], [], []
        for frame in range(self.frames):
            there = torch.cat([uv, torch.tensor([frame / (self.frames / 2) - 1])])
            back = self("FG_UV_Mapping_Inverse", there[None])
            moves.append(in_uv @ self.slopes("FG_UV_Mapping_Inverse", there))
            places.append((back[0, :2] + moves[-1] + 1) * self.half)
            opacities.append((self("F_Alpha", back)[0, 0] + 1) / 2)
        return torch.stack(moves), torch.stack(places), torch.stack(opacities)


@dataclass
class Batch:
    """samples [3, N] (x, y, frame); video float [F, H, W, 3]; masks and flow masks float [H, W, F]; flow of frame i is
    mask_i * (fx, fy[i])."""

    samples: Tensor
    video: Tensor
    mask: Tensor
    flow_mask: Tensor
    back_mask: Tensor
    fx: float
    fy: Sequence[float]


def _seen(atlas: NaiveAtlas, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    opacity = (atlas("F_Alpha", places) + 1) / 2 * 0.99 + 0.001
    front = (atlas("F_Atlas", atlas("FG_UV_Mapping", places) / 2 + 0.5) + 1) / 2
    behind = (atlas("F_Atlas", atlas("BG_UV_Mapping", places) / 2 - 0.5) + 1) / 2
    return opacity * front + (1 - opacity) * behind, opacity, front


def _stretch(atlas: NaiveAtlas, name: str, batch: Batch, pixels: int) -> Tensor:
    x, y, t = batch.samples
    here, scale = atlas(name, atlas.at(x, y, t)), atlas.half / pixels / 0.8
    by_x = (here - atlas(name, atlas.at(x - pixels, y, t))) * scale
    by_y = (here - atlas(name, atlas.at(x, y - pixels, t))) * scale
    jacobian = torch.stack([by_x, by_y], 2)
    metric = jacobian.mT @ jacobian
    inverse = torch.linalg.inv(metric + 0.001 * torch.eye(2))
    return (torch.linalg.matrix_norm(metric) + torch.linalg.matrix_norm(inverse)).mean()


def _along(atlas: NaiveAtlas, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Forwards and backwards: (places of the samples with flow, places where it leads)."""
    fy, found = torch.tensor(batch.fy), []
    for step, holds in ((1, batch.flow_mask), (-1, batch.back_mask)):
        x, y, t = batch.samples[:, holds[batch.samples[1], batch.samples[0], batch.samples[2]] > 0]
        inside = batch.mask[y, x, t]
        down = fy[t] if step == 1 else -fy[t - 1]
        found.append((atlas.at(x, y, t), atlas.at(x + inside * batch.fx * step, y + inside * down, t + step)))
    return found


def losses(atlas: NaiveAtlas, batch: Batch) -> dict[str, Tensor]:
    """All terms of the main loss."""
    (x, y, t), (_, height, width, _) = batch.samples, batch.video.shape
    colour, opacity, front = _seen(atlas, atlas.at(x, y, t))
    video, inside = batch.video[t, y, x], batch.mask[y, x, t][:, None]
    steps = torch.zeros(len(x))
    for right, down in ((1, 0), (0, 1)):
        wanted = batch.video[t, (y + down).clamp(max=height - 1), (x + right).clamp(max=width - 1)] - video
        made = _seen(atlas, atlas.at(x + right, y + down, t))[0] - colour
        steps = steps + ((wanted - made) ** 2).sum(1)
    found = {"gradient_loss": steps.mean(), "rgb_loss": ((colour - video) ** 2).sum(1).mean()}
    found["alpha_loss"] = -(inside * opacity.log() + (1 - inside) * (1 - opacity).log()).mean()
    found["sparsity_loss"] = ((front * (1 - opacity)) ** 2).sum(1).mean()
    for short, name in (("fg", "FG_UV_Mapping"), ("bg", "BG_UV_Mapping")):
        found[f"rigidity_loss_{short}"] = _stretch(atlas, name, batch, 1)
        found[f"global_rigidity_loss_{short}"] = _stretch(atlas, name, batch, 100)
        both = []
        for here, there in _along(atlas, batch):
            share = _seen(atlas, here)[1][:, 0]
            apart = (atlas(name, there) - atlas(name, here)).norm(dim=1) * atlas.half / 0.8
            both.append((apart * (share if short == "fg" else 1 - share)).mean())
        found[f"flow_loss_{short}"] = (both[0] + both[1]) / 2
    changes = [(_seen(atlas, there)[1] - _seen(atlas, here)[1]).abs().mean() for here, there in _along(atlas, batch)]
    return found | {"flow_alpha_loss": (changes[0] + changes[1]) / 2}


def inverse_loss(atlas: NaiveAtlas, batch: Batch) -> Tensor:
    """Of the samples within the mask; the mapping is taken as it is."""
    x, y, t = batch.samples[:, batch.mask[batch.samples[1], batch.samples[0], batch.samples[2]] > 0.5]
    places = atlas.at(x, y, t)
    uv = atlas("FG_UV_Mapping", places).detach()
    return (atlas("FG_UV_Mapping_Inverse", torch.cat([uv, places[:, 2:]], 1)) - places).norm(dim=1).mean()


def trained(atlas: NaiveAtlas, batch: Batch, steps: int) -> list[dict[str, float]]:
    """The losses of some Adam steps on one batch; the weights of `atlas` are left as they were."""
    weights = {name: {key: value.clone().requires_grad_(True) for key, value in state.items()}
               for name, state in atlas.weights.items()}  # fmt: skip
    atlas = NaiveAtlas(weights, atlas.models, atlas.size, atlas.frames)
    back = weights["FG_UV_Mapping_Inverse"].values()
    rest = [value for name, state in weights.items() if name != "FG_UV_Mapping_Inverse" for value in state.values()]
    main, other = torch.optim.Adam(rest, 1e-4), torch.optim.Adam(back, 1e-4)
    told = []
    for _ in range(steps):
        found = losses(atlas, batch)
        found["total"] = torch.stack([FACTORS[name] * value for name, value in found.items()]).sum()
        main.zero_grad()
        found["total"].backward()
        main.step()
        found["fg_inv_loss"] = inverse_loss(atlas, batch)
        other.zero_grad()
        found["fg_inv_loss"].backward()
        other.step()
        told.append({name: value.item() for name, value in found.items()})
    return told
