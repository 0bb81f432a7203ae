"""The cross-attention layers of a U-Net, and how each of them gets its own text.

A text per layer travels through the U-Net as one long sequence, [B, layers * 77, C]; each layer cuts its own 77 out.
That needs no state, so it also holds when gradient checkpointing runs a layer a second time.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from vswap_kernel.errors import InputError
from vswap_kernel.protocols import CrossAttentionLayer

TOKENS = 77


def cross_attention_layers(unet: Any) -> tuple[CrossAttentionLayer, ...]:
    """The layers in the order in which a pass meets them: down, mid, up."""
    names = [name for name, _ in unet.named_modules() if name.endswith(".attn2")]
    levels = len(unet.config.block_out_channels)

    def order(name: str) -> tuple[int, list[int]]:
        part = name.split("_", 1)[0]
        return ("down", "mid", "up").index(part), [int(n) for n in re.findall(r"\.(\d+)", name)]

    def stride(name: str) -> int:
        part, block = name.split("_", 1)[0], order(name)[1][0]
        return 1 << {"down": block, "mid": levels - 1, "up": levels - 1 - block}[part]

    return tuple(CrossAttentionLayer(n, n.split("_", 1)[0], stride(n)) for n in sorted(names, key=order))


def route_text(unet: Any, layers: tuple[CrossAttentionLayer, ...]) -> None:
    """Make each layer take its own text, once for each frame. A U-Net called directly works as before."""

    def hook(index: int) -> Any:
        def own_text(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            text = kwargs.get("encoder_hidden_states")
            if text is None:
                return None
            if text.shape[1] == TOKENS * len(layers):
                text = text[:, TOKENS * index : TOKENS * (index + 1)]
            if text.shape[0] != args[0].shape[0]:
                text = text.repeat_interleave(args[0].shape[0] // text.shape[0], 0)
            return args, kwargs | {"encoder_hidden_states": text}

        return own_text

    for index, layer in enumerate(layers):
        unet.get_submodule(layer.path).register_forward_pre_hook(hook(index), with_kwargs=True)


def one_sequence(text: Tensor, clips: int, layers: int) -> Tensor:
    """Text [B, 77, C], or [layers, B, 77, C] laid out as one sequence [B, layers * 77, C].

    Raises:
        InputError: not text of `clips` clips, or of another number of layers.
    """
    shape = list(text.shape)
    if text.ndim not in (3, 4) or shape[-3] not in (1, clips) or (text.ndim == 4 and shape[0] != layers):
        wanted = f"[{clips}, {TOKENS}, C] or [{layers}, {clips}, {TOKENS}, C]"
        raise InputError(f"text embeddings {shape}: expected {wanted}, one row for each clip of the batch")
    if text.ndim == 4:
        text = torch.cat(list(text), 1)
    return text.expand(clips, -1, -1)
