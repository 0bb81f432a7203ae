"""How much each place of a frame looks at the words of a prompt, over the layers that tell where things are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone, CrossAttentionLayer
from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.latent_blend import reference_mask_layers, word_positions
from vswap_swappers.point_diffusion.options import PointDiffusionOptions

TOKENS = 77


def attention_layers(
    layers: Sequence[CrossAttentionLayer], options: PointDiffusionOptions, cells: tuple[int, int]
) -> list[int]:
    """The layers that are looked at, by number, for latents of `cells` (rows, columns).

    Raises:
        InputError: there are none.
    """
    if options.mask_layers == "reference":
        chosen = reference_mask_layers(layers, cells)
    else:
        chosen = [i for i, layer in enumerate(layers) if layer.part != "mid" and layer.stride in options.mask_scales]
    if not chosen:
        known = sorted({layer.stride for layer in layers if layer.part != "mid"})
        where = f"no attention layer of this backbone is chosen at {cells[1]}x{cells[0]} latent cells"
        raise InputError(f"swapper.mask_scales: {where}; take mask_scales of {known}")
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


def prompt_tokens(backbone: Backbone, prompt: Prompt) -> range:
    """The positions of all tokens of a prompt, from the beginning up to its end mark."""
    return range(min(TOKENS, len(backbone.tokenizer(_as_read(prompt)).input_ids)))


def find_words(backbone: Backbone, prompt: Prompt, words: Prompt, which: str) -> list[int]:
    """The token positions of `words` in `prompt`.

    Raises:
        InputError: they aren't there, or beyond what the text encoder reads; `which` names the prompt.
    """
    found = word_positions(backbone, _as_read(prompt), _as_read(words))
    if not found or found[-1] >= TOKENS - 1:
        where = f"the first {TOKENS - 2} tokens of the {which} prompt {prompt.text!r}"
        raise InputError(f"prompt.replace: {words.text!r} are no whole words within {where}; set them apart")
    return found


def _as_read(prompt: Prompt) -> str:
    """The prompt as the first layer reads it; in the others, its words stand at the same places."""
    return prompt.per_layer[0] if prompt.per_layer else prompt.text
