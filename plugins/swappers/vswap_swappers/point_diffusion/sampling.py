"""The sampling of a swap: guided, blended with the source, and resumed where it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vswap_kernel.errors import StoreError
from vswap_kernel.protocols import Backbone
from vswap_swappers.point_diffusion.ddim import Ladder, Predict, sampled
from vswap_swappers.point_diffusion.inversion import Progress, write_tensors
from vswap_swappers.point_diffusion.latent_blend import LatentBlend
from vswap_swappers.point_diffusion.word_attention import layer_mean

CHECKPOINT = "sampling.safetensors"
_PROMPT = -1  # the last clip of the batch: [negative, prompt], or the prompt alone


@dataclass(frozen=True, eq=False)
class Target:
    """Where the new subject's words stand in the target prompt, and the layers at which they are looked for."""

    tokens: Sequence[int]
    layers: Sequence[int]


def sample(
    backbone: Backbone,
    predict: Predict,
    ladder: Ladder,
    target: Target,
    blend: LatentBlend,
    scratch: Path,
    progress: Progress,
) -> Tensor:
    """Come down from the noisiest inverted latents to clean ones [F, 4, h, w]; `blend` then knows the masks.

    `predict` is a `Guidance`, or wraps one. After each step all that the next one needs is written to `scratch`; from
    there an interrupted sampling goes on to the same bytes.
    """
    state = scratch / CHECKPOINT
    first, latents = 0, blend.levels[-1]
    if state.exists():
        first, latents = _restored(state, blend, latents.device)
    replaced: Tensor | None = None
    with backbone.capture_attention(target.tokens, target.layers) as maps:
        walk = sampled(predict, latents, ladder, first=first)
        for step in range(first, ladder.steps):
            latents, _ = next(walk) if replaced is None else walk.send(replaced)
            attention = layer_mean([maps[layer] for layer in target.layers], _PROMPT).sum(1)
            latents = replaced = blend(step, latents, attention)
            assert blend.target_sum is not None
            write_tensors(state, latents=latents, target_sum=blend.target_sum, done=torch.tensor(step + 1))
            progress(step + 1, ladder.steps, "sampling")
    return latents


def _restored(state: Path, blend: LatentBlend, device: torch.device) -> tuple[int, Tensor]:
    try:
        stored = load_file(state)
        blend.target_sum = stored["target_sum"].to(device)
        return int(stored["done"]), stored["latents"].to(device)
    except (OSError, SafetensorError, KeyError) as error:
        raise StoreError(f"{state}: damaged checkpoint ({error}); delete it to sample from the start") from None
