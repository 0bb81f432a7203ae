"""Reads and writes ED-LoRA files (Gu et al., "Mix-of-Show: Decentralized Low-Rank Adaptation for Multi-Concept
Customization of Diffusion Models", NeurIPS 2023).

Ours are .safetensors: `embedding.<word>` [layers, C], `text_encoder.PATH.lora_down.weight`, `unet.PATH.lora_up.weight`.
The reference's are pickles, {"params": {"new_concept_embedding", "text_encoder", "unet"}}.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from vswap_kernel.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_DOWN, _UP = ".lora_down.weight", ".lora_up.weight"
_PARTS = ("text_encoder", "unet")


@dataclass(frozen=True, eq=False)
class LowRank:
    """A change of a layer's weight: up [out, rank, ...] times down [rank, in, ...]."""

    down: Tensor
    up: Tensor

    def delta(self) -> Tensor:
        """The change in float32, of the weight's shape."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return product.view(self.up.shape[0], *self.down.shape[1:])


@dataclass(frozen=True, eq=False)
class EdLora:
    """A learned concept.

    Attributes:
        path: the file.
        embeddings: for each new word, one token embedding for each cross-attention layer, [layers, C].
        text_encoder, unet: by path of the layer, the change of its weight.
    """

    path: Path
    embeddings: Mapping[str, Tensor]
    text_encoder: Mapping[str, LowRank]
    unet: Mapping[str, LowRank]

    @property
    def layers(self) -> int:
        """Number of cross-attention layers that it has embeddings for."""
        return int(next(iter(self.embeddings.values())).shape[0])

    @property
    def text_width(self) -> int:
        """Channels of a token embedding."""
        return int(next(iter(self.embeddings.values())).shape[1])

    def unet_widths(self) -> Iterator[tuple[int, int]]:
        """(level, channels) of the changed self-attention layers of the down path."""
        for name, change in self.unet.items():
            head, _, rest = name.partition(".attentions.")
            if head.startswith("down_blocks.") and rest.endswith("attn1.to_q"):
                yield int(head.split(".")[1]), int(change.down.shape[1])


def read_ed_lora(path: Path) -> EdLora:
    """Read a file of either kind.

    Raises:
        InputError: damaged, no ED-LoRA, or a pickle with code in it.
    """
    flat = _flat(_tensors(path), path)
    embeddings = {name[len("embedding.") :]: value for name, value in flat.items() if name.startswith("embedding.")}
    if not embeddings:
        raise InputError(f"{path}: no ED-LoRA: it has no embedding of a new word; convert plain LoRAs elsewhere")
    if any(value.ndim != 2 for value in embeddings.values()) or len({value.shape for value in embeddings.values()}) > 1:
        raise InputError(f"{path}: no ED-LoRA: an embedding isn't one row for each cross-attention layer")
    return EdLora(path, embeddings, *(_changes(flat, part, path) for part in _PARTS))


def _tensors(path: Path) -> Mapping[str, Any]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except pickle.UnpicklingError:
        raise InputError(f"{path}: its pickle holds code, which is never run; ask for a .safetensors file") from None
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged, or not a file of weights ({type(error).__name__})") from None
    return data if isinstance(data, Mapping) else {}


def _flat(data: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    if "params" not in data:
        return dict(data)
    params = data["params"]
    try:
        flat = {f"embedding.{word}": value for word, value in params["new_concept_embedding"].items()}
        for part in _PARTS:
            flat |= {f"{part}.{name}": value for name, value in params.get(part, {}).items()}
    except (KeyError, AttributeError, TypeError):
        raise InputError(f"{path}: no ED-LoRA: `params` has no new_concept_embedding") from None
    return flat


def _changes(flat: Mapping[str, Tensor], part: str, path: Path) -> dict[str, LowRank]:
    found = {}
    for name, down in flat.items():
        if name.startswith(f"{part}.") and name.endswith(_DOWN):
            up = flat.get(name.removesuffix(_DOWN) + _UP)
            if up is None or up.shape[1] != down.shape[0]:
                raise InputError(f"{path}: {name} has no lora_up of the same rank")
            found[name.removesuffix(_DOWN).removeprefix(f"{part}.")] = LowRank(down, up)
    return found


def write_ed_lora(lora: EdLora, path: Path) -> None:
    """Write our kind of file, or the reference's where `path` ends in .pth."""
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".pth":
        parts = {"text_encoder": _named(lora.text_encoder), "unet": _named(lora.unet)}
        torch.save({"params": {"new_concept_embedding": dict(lora.embeddings), **parts}}, path)
        return
    flat = {f"embedding.{word}": value for word, value in lora.embeddings.items()}
    for part, changes in (("text_encoder", lora.text_encoder), ("unet", lora.unet)):
        flat |= {f"{part}.{name}": value for name, value in _named(changes).items()}
    save_file({name: value.contiguous() for name, value in flat.items()}, path, {"format": "vswap-ed-lora"})


def _named(changes: Mapping[str, LowRank]) -> dict[str, Tensor]:
    down = {f"{name}{_DOWN}": change.down for name, change in changes.items()}
    return down | {f"{name}{_UP}": change.up for name, change in changes.items()}
