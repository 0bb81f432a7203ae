"""What a model is, read from its configuration or a file's header without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from vswap_backbones.register import StableDiffusionOptions
from vswap_kernel.errors import InputError

HOLDS_CODE = "its pickle holds code, which is never run; take a .safetensors file"
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def describe(options: StableDiffusionOptions) -> Mapping[str, Any]:
    """What can be told of the model: `widths` (channels of each U-Net level), `text_width`, `layers_per_block`. Empty
    where nothing can be told before it is loaded (a model on the hub that isn't in the cache, a .ckpt file).

    Raises:
        InputError: a folder without a U-Net, a damaged file, a model of another kind.
    """
    config = _config(options)
    if not config:
        return {}
    refuse_other_kinds(config, options.weights)
    found = {"widths": config.get("block_out_channels"), "text_width": config.get("cross_attention_dim")}
    found["layers_per_block"] = config.get("layers_per_block")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items() if value}


def _config(options: StableDiffusionOptions) -> Mapping[str, Any]:
    weights = options.weights
    if not isinstance(weights, Path):
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(weights, "unet/config.json", revision=options.hub_revision)
        return _read(Path(found)) if isinstance(found, str) else {}
    if weights.is_dir():
        config = _read(weights / "unet" / "config.json")
        for part in ("unet", "vae", "text_encoder"):
            if not any((weights / part).glob("*.safetensors")):
                for file in (weights / part).glob("*.bin"):
                    refuse_code(file)
        return config
    if weights.suffix != ".safetensors":
        refuse_code(weights)
    return _of_header(weights) if weights.suffix == ".safetensors" else {}


def refuse_code(path: Path) -> None:
    """Look through a pickle for anything but tensors; nothing of it is run, and no weight is read.

    Raises:
        InputError: it has code in it, or is no file of weights.
    """
    import torch

    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if not zipped:
            torch.load(path, map_location="meta", weights_only=True)
        elif torch.serialization.get_unsafe_globals_in_checkpoint(path):
            raise InputError(f"{path}: {HOLDS_CODE}")
    except UnpicklingError:
        raise InputError(f"{path}: {HOLDS_CODE}") from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged, or not a file of weights ({type(error).__name__})") from None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config: Mapping[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a diffusers model folder ({type(error).__name__})") from None
    return config


def _of_header(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            names = set(file.keys())
            if _FIRST not in names:
                raise InputError(f"{path}: not a Stable Diffusion checkpoint: it has no {_FIRST}")
            width, channels = file.get_slice(_FIRST).get_shape()[:2]
            text = file.get_slice(_TEXT).get_shape()[1] if _TEXT in names else None
    except SafetensorError as error:
        raise InputError(f"{path}: damaged, or no safetensors file ({error})") from None
    widths = [width, 2 * width, 4 * width, 4 * width]
    kind = "text_time" if any(name.startswith("model.diffusion_model.label_emb.") for name in names) else None
    return {
        "block_out_channels": widths,
        "in_channels": channels,
        "cross_attention_dim": text,
        "addition_embed_type": kind,
    }


def refuse_other_kinds(config: Mapping[str, Any], weights: Path | str) -> None:
    """Refuse what isn't a plain Stable-Diffusion-1.5-class U-Net.

    Raises:
        InputError: an SDXL or inpainting model, or one with other blocks.
    """
    problem = ""
    if config.get("addition_embed_type") is not None:
        problem = "it is of the SDXL kind"
    elif config.get("in_channels", 4) != 4:
        problem = f"its U-Net takes {config['in_channels']} channels, as inpainting models do"
    elif config.get("cross_attention_dim") == 1024:
        problem = "it is of the Stable Diffusion 2 kind"
    elif config.get("down_block_types", ["DownBlock2D"])[-1] != "DownBlock2D":
        problem = "its last down block has attention"
    if problem:
        raise InputError(
            f"{weights}: not a Stable-Diffusion-1.5-class model: {problem}; backbone 'sd15' takes no other"
        )
