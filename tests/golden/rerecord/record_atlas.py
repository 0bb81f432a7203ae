"""atlas_io, atlas_tiny.pth and atlas/: an atlas of a disc that drifts over the frames.

Independent of our code, see `naive_atlas`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .models import Random, write_json
from .naive_atlas import Batch, NaiveAtlas, trained
from .session import Session

ENDS = {
    "FG_UV_Mapping": (3, 2),
    "FG_UV_Mapping_Inverse": (3, 3),
    "BG_UV_Mapping": (3, 2),
    "F_Atlas": (2, 3),
    "F_Alpha": (3, 1),
}
_SAMPLES, _PROBES, _ITERATIONS, _FITTED = 300, 64, 5, 600


def random_weights(models: dict[str, Any], random: Random) -> dict[str, dict[str, Tensor]]:
    weights: dict[str, dict[str, Tensor]] = {}
    for name, model in models.items():
        encoded = model["input_dim"] * (2 * model["pe_dim"] if model["pe_type"] == "encoding" else 1)
        weights[name], entering = {}, encoded
        for layer in range(model["mlp_layers"]):
            entering += encoded * (layer in model["skip_layers"])
            leaving = model["output_dim"] if layer == model["mlp_layers"] - 1 else model["hidden_dim"]
            scale = 1.4 / math.sqrt(entering)
            weights[name][f"hidden.{layer}.weight"] = random.normal(leaving, entering, scale=scale)
            weights[name][f"hidden.{layer}.bias"] = random.normal(leaving, scale=0.05)
            entering = leaving
    return weights


def fit(atlas: NaiveAtlas, centres: Tensor, radius: float, random: Random) -> None:
    """Make the mapping, its inverse and the opacity roughly those of the drifting disc, centres [F, 2] px."""
    width, height = atlas.size
    chosen = [atlas.weights[name] for name in ("FG_UV_Mapping", "FG_UV_Mapping_Inverse", "F_Alpha")]
    values = [value.requires_grad_(True) for state in chosen for value in state.values()]
    adam = torch.optim.Adam(values, 2e-3)
    for _ in range(_FITTED):
        frame = (random.uniform(512) * atlas.frames).long().clamp(max=atlas.frames - 1)
        x, y = random.uniform(512) * (width - 1), random.uniform(512) * (height - 1)
        places, moved = atlas.at(x, y, frame), (torch.stack([x, y], 1) - centres[frame]) / atlas.half
        uv = 0.8 * moved
        inside = (moved.norm(dim=1) < radius / atlas.half).float() * 1.6 - 0.8
        misses = (atlas("FG_UV_Mapping", places) - uv).square().mean()
        misses = misses + (atlas("FG_UV_Mapping_Inverse", torch.cat([uv, places[:, 2:]], 1)) - places).square().mean()
        misses = misses + (atlas("F_Alpha", places)[:, 0] - inside).square().mean()
        adam.zero_grad()
        misses.backward()
        adam.step()
    for state in chosen:
        for value in state.values():
            value.requires_grad_(False)


def record_atlas(session: Session) -> None:
    """Writes them."""
    config, random = session.config, session.random(60)
    width, height, frames = config["W"], config["H"], config["F"]
    models = {name: {"input_dim": ends[0], "output_dim": ends[1], "mlp_type": "origin", **session.variant.atlas[name]}
              for name, ends in ENDS.items()}  # fmt: skip
    atlas = NaiveAtlas(random_weights(models, random), models, (width, height), frames)
    drift = torch.stack([torch.full((frames,), 0.03 * width), 0.05 * height * (random.uniform(frames) * 2 - 1)], 1)
    centres = torch.tensor([0.4 * width, 0.5 * height]) + drift.cumsum(0)
    radius = 0.3 * min(width, height)
    fit(atlas, centres, radius, random)
    torch.save(atlas.weights, session.out / "atlas_tiny.pth")
    tensors, notes = _drags(session, atlas, centres, radius, random)
    places = random.uniform(_PROBES, 3) * 1.96 - 0.98
    tensors |= {"probe_in": places, "probe_Wm": torch.stack([atlas.slopes("FG_UV_Mapping", one) for one in places])}
    tensors |= {f"probe_{name}": atlas(name, places[:, : ends[0]]) for name, ends in ENDS.items()}
    notes |= {"models": models}
    _train(session, atlas, centres, radius, random, tensors, notes)
    session.write("atlas_io", tensors, notes)


def _drags(
    session: Session, atlas: NaiveAtlas, centres: Tensor, radius: float, random: Random
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Points at whole pixels around the disc, the last one far from it, all but the second one moved."""
    names, keyframe, (width, height) = session.config["points"], session.config["keyframe"], atlas.size
    source: dict[str, list[int]] = {}
    for name in names:
        x, y = (centres[keyframe] + (random.uniform(2) * 2 - 1) * 0.6 * radius).round().long().tolist()
        source[name] = [y, x]
    source[names[-1]] = [height - 3, width - 2]
    order = [name for index, name in enumerate(names) if index != 1]
    target = {name: [place + round(float(random.uniform(1) * 16 - 8)) for place in source[name]] for name in order}
    tracks = session.tap["pred_tracks"].clone()
    carried = [atlas.dragged(source[name][::-1], target[name][::-1], keyframe) for name in order]
    tensors: dict[str, Tensor] = {"tracks_in": tracks.clone()}
    for index, (name, (move, xy, opacity)) in enumerate(zip(order, carried, strict=True)):
        tensors[f"delta_{index}"] = move
        tracks[:, names.index(name)] = torch.where(opacity[:, None] > 0.5, xy.round(), -1.0)
    unrounded, opacity = (torch.stack([one[part] for one in carried], 1) for part in (1, 2))
    tensors |= {"tracks_out": tracks, "unrounded_xy": unrounded, "alpha": opacity}
    visible = int((tracks >= 0).all(-1).sum())
    notes: dict[str, Any] = {"keyframe": keyframe, "source": source, "target": target, "target_order": order}
    notes |= {"larger_dim": max(atlas.size), "frames": atlas.frames, "size_wh": list(atlas.size)}
    notes |= {"visible_out": visible, "alpha_margin": float((opacity - 0.5).abs().min())}
    notes["round_margin"] = float((unrounded - unrounded.floor() - 0.5).abs().min())
    folder = session.out / "atlas"
    write_json(folder / f"{keyframe:05}.json", source)
    write_json(folder / f"{keyframe:05}_target.json", target)
    torch.save(session.tap, folder / "TAP.pth")
    return tensors, notes


def _train(
    session: Session,
    atlas: NaiveAtlas,
    centres: Tensor,
    radius: float,
    random: Random,
    tensors: dict[str, Tensor],
    notes: dict[str, Any],
) -> None:
    """A batch with the disc as mask, and its flow the drift."""
    (width, height), frames = atlas.size, atlas.frames
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    apart = torch.stack([x, y], -1)[:, :, None] - centres
    mask = (apart.norm(dim=-1) < radius).float()
    ahead, back = ((random.uniform(height, width, frames) < 0.7).float() for _ in range(2))
    ahead[..., -1], back[..., 0] = 0, 0
    spans = torch.tensor([width, height, frames])[:, None]
    samples = torch.minimum((random.uniform(3, _SAMPLES) * spans).long(), spans - 1)
    fx, fy = float(centres[1, 0] - centres[0, 0]), centres[:, 1].diff().tolist()
    batch = Batch(samples, torch.from_numpy(session.frames()).float() / 255, mask, ahead, back, fx, fy)
    tensors["train_jif"] = samples.int()
    named = {"train_mask": mask, "train_flow_mask": ahead, "train_flow_reverse_mask": back}
    for name, bits in named.items():
        tensors[f"{name}_packbits"] = torch.from_numpy(np.packbits(bits.numpy() > 0))
    notes |= {"fx": fx, "fy": fy, "train_same_batch_5_adam_steps_lr1e-4": trained(atlas, batch, _ITERATIONS)}
