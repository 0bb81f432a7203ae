"""adapter_io, prompt_io and unet3d_io.

Independent of our code: all but the CLIP text encoder, which is the library's.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from .models import LAYERS
from .naive_parts import adapter_states, patch_mask
from .naive_tokens import Tokens
from .session import Session, clips_first

STRINGS = [
    "",
    "A  Jeep, RED!",
    "a (weird) café 42",
    "it's the cat's 3rd pond!!! (ok)",
    "ŒUVRE straße… “x²” 👍",
    "1,234.5 a_b",
]
"""What a tokenizer may stumble over."""


def sparse(states: list[Tensor], name: str) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """KEY_idx [n, 3] and KEY_val [n, C] of each level, and the dense shapes."""
    tensors, shapes = dict[str, Tensor](), dict[str, list[int]]()
    for level, state in enumerate(states):
        index = state.abs().sum(1).nonzero()
        tensors[f"{name}_{level}_idx"] = index.to(torch.int16)
        tensors[f"{name}_{level}_val"] = state.permute(0, 2, 3, 1)[tuple(index.T)]
        shapes[f"{name}_{level}"] = list(state.shape)
    return tensors, shapes


def record_adapter(session: Session) -> list[Tensor]:
    """Writes adapter_io; the maps of all points."""
    variant, config = session.variant, session.config
    tracks, embedding = session.tap["pred_tracks"], session.tap["point_embedding"]
    draws = session.random(20).uniform(tracks.shape[1])
    draws[0] = config["drop_rate"] / 2
    kept = [point for point in range(len(draws)) if draws[point] > config["drop_rate"]]
    sets = {"state_all": list(range(len(draws))), "state_subset": list(variant.subset), "state_train": kept}
    tensors, shapes, made = {"tracks": tracks, "embedding": embedding}, dict[str, list[int]](), {}
    for name, points in sets.items():
        made[name] = adapter_states(session.adapter, embedding, tracks, points, session.size)
        found, dense = sparse(made[name], name)
        tensors |= found
        shapes |= dense
    single = adapter_states(session.adapter, embedding, tracks, [2], session.size)[1]
    tensors["single_point_batched_1"] = single
    lit = (single != 0).any(1, keepdim=True)
    tensors["single_point_unbatched_1"] = torch.where(lit, single.mean(1, keepdim=True), 0).expand_as(single)
    local = patch_mask(tracks, kept, *session.cells)
    tensors |= {"loss_mask_local": local, "loss_mask_global": torch.ones_like(local)}
    notes = {"dense_shapes": shapes, "size_wh": list(session.size[::-1]), "index_list": list(variant.subset)}
    notes |= {"select": config["select"], "draws": draws.tolist(), "drop_rate": config["drop_rate"], "kept": kept}
    session.write("adapter_io", tensors, notes)
    return made["state_all"]


def record_prompts(session: Session) -> dict[str, Tensor]:
    """Writes prompt_io; the embeddings."""
    config = session.config
    prompt, negative, target = config["prompt"], config["neg"], session.swapped("swap_lora")
    embeds = {
        "source_embeds": session.embed(prompt),
        "target_cfg_embeds": session.embed(negative, session.swapped("swap")),
        "edlora_embeds": torch.stack([session.embed_concept(text) for text in (negative, target)]),
    }
    bound = session.bound(target)
    tensors = embeds | {"edlora_token_ids": session.ids(bound, session.concept_tokenizer)}
    tensors["neg_token_ids"] = session.ids([negative])
    layers = [
        "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight",
        "up_blocks.2.attentions.0.transformer_blocks.0.attn2.to_out.0.weight",
    ]
    text_layers = [f"text_model.encoder.layers.{session.variant.text_layers - 1}.self_attn.v_proj.weight"]
    tensors |= {f"merged.{name}": session.lora_unet[name] for name in layers}
    tensors |= {f"merged.{name}": session.lora_text_state[name] for name in text_layers}
    texts = [prompt, *(session.swapped(key) for key in ("swap", "swap_long")), negative, *STRINGS]
    tokens = Tokens(session.out / "tiny-sd" / "tokenizer")
    ids = {text: tokens.ids(text) for text in texts}
    notes: dict[str, Any] = {"token_ids": ids, "target_prompt": target, "negative_prompt": negative}
    notes |= {"bound_prompt_0": bound[0], "layers": layers, "text_layers": text_layers, "alpha": config["alpha"]}
    everything = [*session.lora_unet.values(), *session.motion.values()]
    notes["unet_total_abs"] = sum(float(value.double().abs().sum()) for value in everything)
    notes["sums"] = {name: _sums(session.lora_unet[name]) for name in layers}
    session.write("prompt_io", tensors, notes)
    assert len(bound) == LAYERS
    return embeds


def _sums(weight: Tensor) -> dict[str, Any]:
    sha = hashlib.sha256(weight.contiguous().numpy().tobytes()).hexdigest()[:16]
    return {"sum": float(weight.double().sum()), "abs": float(weight.double().abs().sum()), "sha256_16": sha}


@torch.no_grad()
def record_unet(session: Session, states: list[Tensor], embeds: dict[str, Tensor]) -> None:
    """Writes unet3d_io."""
    frames, random = session.config["F"], session.random(21)
    one, two = (random.normal(clips * frames, 4, *session.cells) for clips in (1, 2))
    plain, negative, cfg = 401, -141, 661
    source = embeds["source_embeds"]
    made = {
        "out_plain": session.net()(one, plain, source, frames),
        "out_residual": session.net()(one, plain, source, frames, states),
        "out_negative_t": session.net()(one, negative, source, frames),
        "out_plain_motion_off": session.net(motion=False)(one, plain, source, frames),
    }
    pairs = {
        "out_cfg_residual": session.net()(two, cfg, embeds["target_cfg_embeds"], frames, states),
        "out_cfg_edlora_residual": session.net(lora=True)(two, cfg, embeds["edlora_embeds"], frames, states),
    }
    tensors = {"latents": clips_first(one), "latents_cfg": clips_first(two, 2)}
    tensors |= {name: clips_first(value) for name, value in made.items()}
    tensors |= {name: clips_first(value, 2) for name, value in pairs.items()}
    std = {"plain": float(made["out_plain"].std())}
    for name in ("out_residual", "out_plain_motion_off", "out_negative_t"):
        std[name] = float((made[name] - made["out_plain"]).std())
    std["edlora"] = float((pairs["out_cfg_edlora_residual"] - pairs["out_cfg_residual"]).std())
    first, second = pairs["out_cfg_residual"].chunk(2)
    std["text"] = float((first - second).std())
    session.write("unet3d_io", tensors, {"t_plain": plain, "t_negative": negative, "t_cfg": cfg, "std": std})
