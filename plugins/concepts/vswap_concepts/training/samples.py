"""Sample pictures of a trained concept, as its users get them: read from its file and attached by `ed-lora`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vswap_concepts.ed_lora import EdLoraConcept
from vswap_concepts.register import EdLoraOptions
from vswap_concepts.training.draws import Draws
from vswap_concepts.training.pictures import Picture
from vswap_kernel.api import Context
from vswap_kernel.encode import write_png
from vswap_kernel.protocols import Backbone
from vswap_kernel.types import ByteArray, Prompt

COUNT = 4
_GAP = 4


@torch.no_grad()
def sampled(backbone: Backbone, prompt: Prompt, noise: Tensor, *, steps: int, guidance: float) -> ByteArray:
    """Pictures uint8 [N, H, W, 3] by DDIM with guidance (eta 0, "leading" spacing), from noise [N, 4, h, w]."""
    told, empty = backbone.embed_text(prompt), backbone.embed_text(Prompt(""))
    text = torch.stack([empty.expand(len(told), -1, -1), told], 1)  # one clip without the prompt, one with it
    text = text[0] if len(told) == 1 else text
    alphas, latents, spacing = backbone.alphas_cumprod.tolist(), noise, len(backbone.alphas_cumprod) // steps
    for step in reversed(range(steps)):
        timestep, below = 1 + spacing * step, max(0, 1 + spacing * (step - 1))
        here, there = alphas[timestep], alphas[below]
        without, with_it = backbone.predict(latents.repeat(2, 1, 1, 1), timestep, text, frames=len(noise)).chunk(2)
        predicted = without + guidance * (with_it - without)
        clean = (latents - (1 - here) ** 0.5 * predicted) / here**0.5
        latents = there**0.5 * clean + (1 - there) ** 0.5 * predicted
    return backbone.decode(latents)


def sample_rows(
    backbone: Backbone,
    concept: Path,
    prompts: Sequence[str],
    shape: tuple[int, ...],
    *,
    steps: int,
    guidance: float,
    seed: int,
    device: str,
) -> list[ByteArray]:
    """For each prompt `COUNT` pictures uint8 [COUNT, H, W, 3] from latents of `shape` [4, h, w], the same noise for
    all prompts, with the concept of that file attached."""
    made = EdLoraConcept(EdLoraOptions(weights=concept), Context(concept.parent, device=device))
    noise = torch.randn((COUNT, *shape), generator=Draws(seed).generator("samples")).to(device)
    with made.attach(backbone):
        return [sampled(backbone, made.prompt(text), noise, steps=steps, guidance=guidance) for text in prompts]


def write_sheet(path: Path, pictures: Sequence[Picture], rows: Sequence[ByteArray]) -> None:
    """A contact sheet: some of the training's own pictures, and below them a row for each prompt."""
    own = np.stack([pictures[index % len(pictures)].rgb for index in range(COUNT)])
    write_png(path, np.concatenate([_row(row) for row in (own, *rows)]))


def _row(pictures: ByteArray) -> ByteArray:
    framed = [np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for picture in pictures]
    return np.concatenate(framed, 1)
