"""Compares the naive figures with those of an existing set, as far as its files tell what went in.

On the open set it shows that the second implementation, which writes the variants, is that of the reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from . import sampling
from .naive_atlas import Batch, NaiveAtlas
from .naive_atlas import trained as atlas_trained
from .naive_parts import adapter_states, patch_mask
from .naive_tokens import Tokens
from .record_dift import Maps, confidences, extracted
from .record_edits import Edit, Group
from .record_training import trained
from .session import Session
from .variants import PORTRAIT


class Recorded:
    """A set, read."""

    def __init__(self, folder: Path) -> None:
        self.folder, config = folder, json.loads((folder / "config.json").read_text())
        groups = json.loads((folder / "tiny-sd" / "unet" / "config.json").read_text())["norm_num_groups"]
        self.session = Session(folder, replace(PORTRAIT, config=config, norm_groups=groups))

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / f"{name}.safetensors")

    def notes(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def adapter(recorded: Recorded) -> Iterator[tuple[str, float]]:
    tensors, notes, session = recorded.tensors("adapter_io"), recorded.notes("adapter_io"), recorded.session
    points = {"state_all": range(tensors["tracks"].shape[1])}
    points |= {"state_subset": notes["index_list"], "state_train": notes["kept"]}
    for name, kept in points.items():
        states = adapter_states(session.adapter, tensors["embedding"], tensors["tracks"], kept, session.size)
        for level, state in enumerate(states):
            dense = torch.zeros(notes["dense_shapes"][f"{name}_{level}"])
            frame, row, column = tensors[f"{name}_{level}_idx"].long().unbind(1)
            dense[frame, :, row, column] = tensors[f"{name}_{level}_val"]
            yield f"{name}_{level}", far(state, dense)
    mask = patch_mask(tensors["tracks"], notes["kept"], *session.cells)
    yield "loss_mask_local", far(mask.float(), tensors["loss_mask_local"].float())


def prompts(recorded: Recorded) -> Iterator[tuple[str, float]]:
    tensors, notes, session = recorded.tensors("prompt_io"), recorded.notes("prompt_io"), recorded.session
    tokens = Tokens(recorded.folder / "tiny-sd" / "tokenizer")
    yield "token_ids", float(sum(tokens.ids(text) != ids for text, ids in notes["token_ids"].items()))
    yield "source_embeds", far(session.embed(session.config["prompt"]), tensors["source_embeds"])
    yield "edlora_embeds", far(session.embed_concept(notes["target_prompt"]), tensors["edlora_embeds"][1])
    for name in notes["layers"]:
        yield f"merged.{name}", far(session.lora_unet[name], tensors[f"merged.{name}"])


def unet(recorded: Recorded) -> Iterator[tuple[str, float]]:
    tensors, notes, session = recorded.tensors("unet3d_io"), recorded.notes("unet3d_io"), recorded.session
    texts, tap = recorded.tensors("prompt_io"), session.tap
    points = range(tap["pred_tracks"].shape[1])
    states = adapter_states(session.adapter, tap["point_embedding"], tap["pred_tracks"], points, session.size)
    one, two = (tensors[name].transpose(1, 2).flatten(0, 1) for name in ("latents", "latents_cfg"))
    source, pair, own = (texts[name] for name in ("source_embeds", "target_cfg_embeds", "edlora_embeds"))
    frames = len(one)
    made = {
        "out_negative_t": session.net()(one, notes["t_negative"], source, frames),
        "out_residual": session.net()(one, notes["t_plain"], source, frames, states),
        "out_plain_motion_off": session.net(motion=False)(one, notes["t_plain"], source, frames),
        "out_cfg_residual": session.net()(two, notes["t_cfg"], pair, frames, states),
        "out_cfg_edlora_residual": session.net(lora=True)(two, notes["t_cfg"], own, frames, states),
    }
    for name, value in made.items():
        yield name, far(value, tensors[name].transpose(1, 2).flatten(0, 1))


def dift(recorded: Recorded) -> Iterator[tuple[str, float]]:
    tensors, notes, session = recorded.tensors("dift_io"), recorded.notes("dift_io"), recorded.session
    noise = tensors["vae_noise"], tensors["diffusion_noise"]
    maps = Maps(session, tensors["frames_u8"].numpy(), *noise, session.embed(notes["prompt"]))
    level, timestep, members = notes["up_ft_index"], notes["t"], len(noise[0])
    yield "feat_ens1_frame0", far(maps.of(0, 1, level, timestep), tensors["feat_ens1_frame0"])
    frames, tracks = range(len(tensors["frames_u8"])), tensors["extract_tracks_in"]
    mean = [interpolate(maps.of(f, members, level, timestep), session.size, mode="bilinear") for f in frames]
    found = confidences(mean, tracks, notes["keyframe"], session.size)
    for name, value in extracted(mean, tracks, found, notes["threshold"]).items():
        yield name, far(value, tensors[name])


def training(recorded: Recorded) -> Iterator[tuple[str, float]]:
    tensors, notes = recorded.tensors("train_io"), recorded.notes("train_io")
    for kind in ("global", "local"):
        made, told = trained(recorded.session, tensors, notes, kind)
        yield f"{kind} losses", max(abs(a - b) for a, b in zip(told["losses"], notes[kind]["losses"], strict=True))
        for part in (f"{kind}.grad1", f"{kind}.after", f"{kind}.model_pred"):
            yield part, max(far(value, tensors[name]) for name, value in made.items() if name.startswith(part))


def atlas(recorded: Recorded) -> Iterator[tuple[str, float]]:
    """The relative difference of each loss, over all iterations, for those."""
    tensors, notes = recorded.tensors("atlas_io"), recorded.notes("atlas_io")
    weights = torch.load(recorded.folder / "atlas_tiny.pth", weights_only=True)
    naive = NaiveAtlas(weights, notes["models"], tuple(notes["size_wh"]), notes["frames"])
    for name, model in notes["models"].items():
        values = naive(name, tensors["probe_in"][:, : model["input_dim"]])
        yield f"probe_{name}", far(values.detach(), tensors[f"probe_{name}"])
    for index, name in enumerate(notes["target_order"]):
        places = (notes[which][name][::-1] for which in ("source", "target"))
        move, xy, opacity = naive.dragged(*places, notes["keyframe"])
        yield f"{name}: move", far(move, tensors[f"delta_{index}"])
        yield f"{name}: px", far(xy, tensors["unrounded_xy"][:, index])
        yield f"{name}: opacity", far(opacity, tensors["alpha"][:, index])
    (width, height), frames = naive.size, naive.frames
    kinds = ("mask", "flow_mask", "flow_reverse_mask")
    bits = (np.unpackbits(tensors[f"train_{kind}_packbits"].numpy())[: width * height * frames] for kind in kinds)
    masks = [torch.from_numpy(one.reshape(height, width, frames).copy()).float() for one in bits]
    video = torch.from_numpy(recorded.session.frames()).float() / 255
    batch = Batch(tensors["train_jif"].long(), video, *masks, notes["fx"], notes["fy"])
    wanted = notes["train_same_batch_5_adam_steps_lr1e-4"]
    told = atlas_trained(naive, batch, len(wanted))
    for name in told[0]:
        yield name, max(abs(got[name] / loss[name] - 1) for got, loss in zip(told, wanted, strict=True))


@torch.no_grad()
def edits(recorded: Recorded) -> Iterator[tuple[str, float]]:
    """Relative RMS of the latents; the number of masks' cells that differ."""
    sampling.MARGIN = 5e-5
    for path in sorted(recorded.folder.glob("edit_*.json")):
        notes = json.loads(path.read_text())
        swaps = {name: edit["swap"] for name, edit in notes["edits"].items()}
        least, blended = notes["attention_threshold_pixels"], notes["editing_config"]["use_blend"]
        group = Group(recorded.session, notes["group"], swaps, notes["frames"], notes["tap"], least, blended)
        start = "big" if notes["frames"] == "frames_big" else "noblend"
        latents = recorded.tensors(f"edit_{start}_inversion")["initial_latents"][0].transpose(0, 1)
        group.cells = latents.shape[-2], latents.shape[-1]
        inversion = group.invert(latents)
        for name, swap in swaps.items():
            told, wanted = notes["edits"][name], recorded.tensors(f"edit_{notes['group']}_{name}")
            edit = Edit(group, name, dict(swap), inversion)
            assert (edit.residual_steps, edit.blended_steps) == (told["steps_with_residual"], told["blended_steps"])
            run = sampling.Sampling(edit, swap.get("blend_cfg", {}).get("blend_th", 0.0))
            run.run()
            last = wanted["latents_after_step"][-1].transpose(0, 1)
            difference = (run.after[told["latent_steps_kept"][-1]] - last).square().mean().sqrt()
            yield f"{notes['group']} {name}", float(difference / last.square().mean().sqrt())
            if blended:
                run.blend_notes()
                exact = [key for key in wanted if key in run.tensors and ("mask_b" in key or "_mask_call" in key)]
                exact += ["alpha_words", "refine_mapper", "refine_alphas", "cross_replace_alpha"]
                yield "   masks, words", float(sum((run.tensors[key] != wanted[key]).sum() for key in exact))


def check(folder: Path) -> None:
    """Print the largest difference of each figure."""
    recorded = Recorded(folder)
    for part in (adapter, prompts, unet, dift, training, atlas, edits):
        with torch.set_grad_enabled(part in (training, atlas)):
            for name, difference in part(recorded):
                print(f"{difference:9.1e}  {name}", flush=True)
