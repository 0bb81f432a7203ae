"""Reads motion modules in the three layouts there are, and says what they are without building them.

Original AnimateDiff checkpoints (mm_sd_v14, v15, v15_v2, v3; Guo et al., ICLR 2024) name their tensors
`down_blocks.0.motion_modules.0.temporal_transformer. ...`; diffusers' `MotionAdapter` leaves `temporal_transformer` out
and names the layers of a block otherwise.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from vswap_kernel.errors import InputError
from vswap_motion.register import AnimateDiffOptions

if TYPE_CHECKING:
    from torch import Tensor

_RENAMED = {
    ".temporal_transformer": "",
    ".attention_blocks.0.pos_encoder.pe": ".pos_embed.pe",
    ".attention_blocks.0": ".attn1",
    ".attention_blocks.1": ".attn2",
    ".norms.0": ".norm1",
    ".norms.1": ".norm2",
    ".ff_norm": ".norm3",
}
_WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
)


@dataclass(frozen=True)
class MotionCheckpoint:
    """What a motion checkpoint holds.

    Attributes:
        widths: channels of each level.
        layers_per_block: temporal layers of each down block (an up block has one more).
        blocks_per_layer: transformer blocks of each temporal layer.
        positions: how many frames it has positions for.
        mid_block: whether it has a layer in the middle block, as v2 has.
        heads: attention heads.
        groups: groups of its GroupNorm.
    """

    widths: tuple[int, ...]
    layers_per_block: int
    blocks_per_layer: int
    positions: int
    mid_block: bool
    heads: int = 8
    groups: int = 32

    @property
    def version_1(self) -> bool:
        """Trained with GroupNorm over all frames at once: v1 alone has 24 positions."""
        return self.positions == 24 and not self.mid_block


def locate(options: AnimateDiffOptions, *, download: bool) -> Path | None:
    """The file of the weights; None: a hub model that isn't in the cache and mustn't be fetched now.

    Raises:
        InputError: no such model.
    """
    if isinstance(options.weights, Path):
        if options.weights.is_file():
            return options.weights
        return _in_folder(options.weights)
    from huggingface_hub import snapshot_download

    patterns = ["config.json", *_WEIGHTS]
    try:
        folder = snapshot_download(
            options.weights, revision=options.hub_revision, allow_patterns=patterns, local_files_only=not download
        )
    except Exception as error:  # the hub's client raises many kinds
        if not download:
            return None
        raise InputError(
            f"{options.weights}: no such file or folder, and not on the hub ({type(error).__name__})"
        ) from None
    return _in_folder(Path(folder))


def _in_folder(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: not a MotionAdapter folder: it has no {_WEIGHTS[0]}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a pickle, in which code is never run; memory-mapped where possible.

    Raises:
        InputError: damaged, or a pickle with code in it.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except pickle.UnpicklingError:
        raise InputError(f"{path}: its pickle holds code, which is never run; take a .safetensors file") from None
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged, or not a file of weights ({type(error).__name__})") from None
    tensors = data.get("state_dict", data) if isinstance(data, dict) else {}
    return {name.removeprefix("module."): value for name, value in tensors.items() if isinstance(value, torch.Tensor)}


def converted(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The temporal layers' tensors under diffusers' names; tensors of other layers in the same file are left out.

    Raises:
        InputError: no motion module in it.
    """
    found = {}
    for name, value in weights.items():
        if "motion_modules." not in name or ".attention_blocks.1.pos_encoder" in name:
            continue
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
        found[name] = value
    if not found:
        raise InputError(f"{path}: no motion module: none of its tensors is called ...motion_modules...")
    return found


def examine(weights: Mapping[str, Tensor], path: Path, heads: int) -> MotionCheckpoint:
    """What converted weights are; a folder's config.json knows the number of heads and groups better than `heads`.

    Raises:
        InputError: tensors are missing, or so many heads don't fit.
    """
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    inputs = {name: shape for name, shape in shapes.items() if name.endswith(".proj_in.weight")}
    down = sorted({int(m[1]) for name in inputs if (m := re.match(r"down_blocks\.(\d+)\.", name))})
    try:
        widths = tuple(inputs[f"down_blocks.{i}.motion_modules.0.proj_in.weight"][1] for i in down)
        positions = shapes["down_blocks.0.motion_modules.0.transformer_blocks.0.pos_embed.pe"][1]
    except KeyError as error:
        raise InputError(f"{path}: not a whole motion module: {error.args[0]} is missing") from None
    layers = sum(name.startswith("down_blocks.0.") for name in inputs)
    blocks = {
        m[1]
        for name in shapes
        if (m := re.match(r"down_blocks\.0\.motion_modules\.0\.transformer_blocks\.(\d+)", name))
    }
    config = _config(path)
    heads = _one(config.get("motion_num_attention_heads", heads))
    if any(width % heads for width in widths):
        raise InputError(f"motion.heads: {heads} heads don't divide the {list(widths)} channels of {path}")
    return MotionCheckpoint(
        widths,
        layers,
        len(blocks),
        positions,
        any(name.startswith("mid_block.") for name in inputs),
        heads,
        config.get("motion_norm_num_groups", 32),
    )


def _config(path: Path) -> dict[str, Any]:
    file = path.with_name("config.json")
    config = json.loads(file.read_text()) if file.is_file() and path.name in _WEIGHTS else {}
    return config if isinstance(config, dict) else {}


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, list) else value)
