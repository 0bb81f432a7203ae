"""DDIM inversion of the source, level by level into a folder: what a swap starts from, and is blended with.

level-NNNN.safetensors holds the latents at a level of `ddim.Ladder`, attention-NNNN.safetensors what the pass that left
it paid to each token of the source prompt. Each is written as soon as it is known, so that a killed inversion goes on
where it was, and nothing of it has to stay in memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vswap_kernel.errors import StoreError
from vswap_kernel.protocols import Backbone
from vswap_swappers.point_diffusion.ddim import Ladder, inverted
from vswap_swappers.point_diffusion.word_attention import layer_mean

Progress = Callable[[int, int, str], None]


def write_tensors(path: Path, **tensors: Tensor) -> None:
    """Tensors to a safetensors file, there whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)


def _place(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:04}.safetensors"


@dataclass(frozen=True, eq=False)
class StoredTensors(Sequence[Tensor]):
    """The files of one kind in a folder, each read when it is asked for: tensor `number` is float32 on `device`."""

    folder: Path
    kind: str
    length: int
    device: torch.device

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, number: int) -> Tensor: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, number: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(self.length))]
        path = _place(self.folder, self.kind, range(self.length)[number])
        try:
            return load_file(path)[self.kind].to(self.device)
        except (OSError, SafetensorError, KeyError) as error:
            raise StoreError(f"{path}: damaged ({error}); `vswap store prune --damaged` removes it") from None


@dataclass(frozen=True, eq=False)
class WordAttention(Sequence[Tensor]):
    """Attention [F, h, w] to some tokens of the source prompt together, in each step of the inversion."""

    stored: StoredTensors
    tokens: Sequence[int]

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, number: int) -> Tensor: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, number: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        return self.stored[number][:, list(self.tokens)].sum(1)


@dataclass(frozen=True, eq=False)
class Inversion:
    """A finished inversion.

    Attributes:
        levels: latents [F, 4, h, w] at levels 0 (clean) to N.
        attention: [F, tokens, h, w] of each step, for all tokens of the source prompt from the first on.
    """

    levels: StoredTensors
    attention: StoredTensors

    @classmethod
    def in_folder(cls, folder: Path, steps: int, device: torch.device) -> Inversion:
        """That of `steps` steps in `folder`."""
        return cls(StoredTensors(folder, "level", steps + 1, device), StoredTensors(folder, "attention", steps, device))


def invert(
    backbone: Backbone,
    text: Tensor,
    tokens: Sequence[int],
    layers: Sequence[int],
    ladder: Ladder,
    start: Callable[[], Tensor],
    folder: Path,
    *,
    negative_first_timestep: bool,
    progress: Progress,
) -> None:
    """Invert into `folder`, from the last level that is there.

    Args:
        text: embedding [1, 77, C] of the source prompt.
        tokens: whose attention is kept, at `layers`.
        start: makes the clean latents [F, 4, h, w]; called unless they are in the folder.
    """
    done = 0
    while _place(folder, "level", done + 1).exists():
        done += 1
    if not _place(folder, "level", 0).exists():
        write_tensors(_place(folder, "level", 0), level=start())
    latents = StoredTensors(folder, "level", ladder.steps + 1, ladder.alphas.device)[done]
    with backbone.capture_attention(tokens, layers) as maps:

        def predict(latents: Tensor, timestep: int, level: int) -> Tensor:
            noise = backbone.predict(latents, timestep, text, frames=len(latents))
            attention = layer_mean([maps[layer] for layer in layers], 0)
            write_tensors(_place(folder, "attention", level), attention=attention)
            return noise

        climb = inverted(predict, latents, ladder, first=done, negative_first_timestep=negative_first_timestep)
        for level, latents in enumerate(climb, done + 1):
            write_tensors(_place(folder, "level", level), level=latents)
            progress(level, ladder.steps, "inversion")


def hand_over(folder: Path, out: Path) -> None:
    """The files of `folder` in `out` too, without a second copy of their content where the disk allows it."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            os.link(file, out / file.name)
        except OSError:  # another file system
            shutil.copyfile(file, out / file.name)
