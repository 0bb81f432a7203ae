"""The tensors of a diffusers model under the names of a Stable Diffusion 1 checkpoint, as single files have them."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_VAE = {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "attn_1.group_norm": "attn_1.norm",
    "attn_1.to_out.0": "attn_1.proj_out",
    "attn_1.to_": "attn_1.",
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
}


def _unet_name(name: str) -> str:
    if ".resnets." in name:
        *place, part, kind = name.split(".")
        name = ".".join([*place, _RESNET[part], kind])
    for old, new in _UNET.items():
        if name.startswith(f"{old}."):
            name = new + name[len(old) :]
    if match := re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions)\.(\d)\.", name):
        block, layer = int(match[2]), int(match[4])
        place = f"input_blocks.{3 * block + layer + 1}" if match[1] == "down" else f"output_blocks.{3 * block + layer}"
        name = f"{place}.{int(match[3] == 'attentions')}.{name[match.end() :]}"
    if match := re.match(r"down_blocks\.(\d)\.downsamplers\.0\.conv", name):
        name = f"input_blocks.{3 * int(match[1]) + 3}.0.op{name[match.end() :]}"
    if match := re.match(r"up_blocks\.(\d)\.upsamplers\.0", name):
        name = f"output_blocks.{3 * int(match[1]) + 2}.{1 if match[1] == '0' else 2}{name[match.end() :]}"
    return name


def _vae_name(name: str, levels: int) -> str:
    for old, new in _VAE.items():
        name = name.replace(old, new)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    if match := re.search(r"up_blocks\.(\d)\.(resnets|upsamplers\.0)", name):
        part = "block" if match[2] == "resnets" else "upsample"
        name = f"{name[: match.start()]}up.{levels - 1 - int(match[1])}.{part}{name[match.end() :]}"
    return name


def original_checkpoint(unet: Any, vae: Any, text_encoder: Any) -> dict[str, Tensor]:
    """One file's tensors."""
    found = {f"model.diffusion_model.{_unet_name(name)}": value for name, value in unet.state_dict().items()}
    levels = len(vae.config.block_out_channels)
    for name, value in vae.state_dict().items():
        renamed = _vae_name(name, levels)
        linear = "attn_1" in renamed and renamed.endswith("weight") and value.ndim == 2
        found[f"first_stage_model.{renamed}"] = value[..., None, None] if linear else value
    for name, value in text_encoder.state_dict().items():
        found[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    return {name: value.clone().contiguous() for name, value in found.items()}
