"""Where the words of a prompt stand, and how much each place of a frame looks at them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone, CrossAttentionLayer
from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.word_alignment import TOKENS, prompt_tokens

REFERENCE_LEAST = 32 * 32
"""Queries: the reference neither keeps nor replaces maps of so many or more."""


def layers_at_scales(layers: Sequence[CrossAttentionLayer], scales: Collection[int]) -> list[int]:
    """The layers whose cells are so many latent cells wide, at any resolution: 2 and 4 are 1/16 and 1/32 of a picture.

    Raises:
        InputError: there are none.
    """
    chosen = [index for index, layer in enumerate(layers) if layer.stride in scales]
    if not chosen:
        known = sorted({layer.stride for layer in layers})
        raise InputError(f"swapper.mask_scales: no attention layer is at {sorted(scales)}; this backbone has {known}")
    return chosen


def layers_of_few_queries(layers: Sequence[CrossAttentionLayer], size: tuple[int, int], least: int) -> list[int]:
    """The layers with fewer than `least` queries for latents of `size` (height, width)."""
    return [i for i, layer in enumerate(layers) if -(-size[0] // layer.stride) * -(-size[1] // layer.stride) < least]


def reference_mask_layers(
    layers: Sequence[CrossAttentionLayer], size: tuple[int, int], least: int = REFERENCE_LEAST
) -> list[int]:
    """The layers that the reference takes: of those with fewer than `least` queries, the third and the fourth of the
    down part and the first three of the up part. `size` is (height, width) of the latents.

    Raises:
        InputError: there are none.
    """
    few = layers_of_few_queries(layers, size, least)
    parts = {part: [index for index in few if layers[index].part == part] for part in ("down", "up")}
    chosen = parts["down"][2:4] + parts["up"][:3]
    if not chosen:
        raise InputError(
            f"swapper.mask_layers: at {size[1]}x{size[0]} latent cells the reference looks at no layer; take scales"
        )
    return chosen


def layer_mean(maps: Sequence[Tensor], clip: int) -> Tensor:
    """Attention [F, tokens, h, w], the mean of layers [B, F, tokens, h_l, w_l] for one clip of the batch; coarse layers
    are scaled to the finest first."""
    rows, columns = max(layer.shape[-2:] for layer in maps)

    def fitted(layer: Tensor) -> Tensor:
        if layer.shape[-2:] == (rows, columns):
            return layer
        factor = -(-rows // layer.shape[-2])  # a whole one: the last cells of a coarse layer may reach beyond the edge
        return interpolate(layer, scale_factor=factor, mode="bilinear")[..., :rows, :columns]

    return torch.stack([fitted(layer[clip]) for layer in maps]).mean(0)


def word_positions(backbone: Backbone, prompt: Prompt, words: Prompt) -> list[int]:
    """The token positions (0..76) at which `words` stand in `prompt`, first occurrence; empty if they don't. Prompts of
    a concept are read as its first layer reads them, while the concept is attached."""
    whole, part = (prompt_tokens(backbone.tokenizer, text) for text in (prompt, words))
    part = part[1:-1]
    starts = [start for start in range(len(whole) - len(part) + 1) if whole[start : start + len(part)] == part]
    return list(range(starts[0], starts[0] + len(part))) if starts and part else []


def reference_word_positions(backbone: Backbone, prompt: Prompt, words: Prompt) -> list[int]:
    """Where the reference sees `words`: the tokens of every word of `prompt`, split at spaces, that is one of them."""
    whole, part = (text.per_layer[0] if text.per_layer else text.text for text in (prompt, words))
    found, place = list[int](), 1
    for word in whole.split(" "):
        tokens = len(prompt_tokens(backbone.tokenizer, Prompt(word))) - 2
        if word and word in part.split(" "):
            found += range(place, place + tokens)
        place += tokens
    return [token for token in found if token < TOKENS - 1]


def find_words(
    backbone: Backbone, prompt: Prompt, words: Prompt, which: str, *, reference_words: bool = False
) -> list[int]:
    """`word_positions`, or the reference's, where there have to be some.

    Raises:
        InputError: they aren't there, or beyond what the text encoder reads; `which` names the prompt.
    """
    found = (reference_word_positions if reference_words else word_positions)(backbone, prompt, words)
    if not found:
        where = f"the first {TOKENS - 2} tokens of the {which} prompt {prompt.text!r}"
        raise InputError(f"prompt.replace: {words.text!r} are no whole words within {where}; set them apart")
    return found
