"""Reads and writes point adapters: our `.safetensors`, and the `.pth` of the reference implementation."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vswap_kernel.errors import InputError
from vswap_swappers.point_diffusion.adapter import PointAdapter

_FORMAT = "vswap point adapter 1"
_LAYERS = {"hidden": "0", "output": "2"}


def to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensor names to those of the reference implementation."""
    return {
        f"model_list.{level}.mlp.{_LAYERS[layer]}.{kind}": tensor
        for name, tensor in state.items()
        for _, level, layer, kind in [name.split(".")]
    }


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensor names of the reference implementation to ours.

    Raises:
        KeyError: a name that no adapter has.
    """
    layers = {number: layer for layer, number in _LAYERS.items()}
    named = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"model_list\.(\d+)\.mlp\.([02])\.(weight|bias)", name)
        if match is None:
            raise KeyError(name)
        named[f"levels.{match[1]}.{layers[match[2]]}.{match[3]}"] = tensor
    return named


def write_adapter(path: Path, adapter: PointAdapter) -> None:
    """Write float32 weights to `path`: the reference's format when it ends in `.pth`, else safetensors."""
    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in adapter.state_dict().items()}
    if path.suffix == ".pth":
        torch.save(to_reference(state), path)
        return
    # one entry only: safetensors writes several in an order that changes from run to run
    about = {"format": _FORMAT, "points": list(adapter.points), "space": adapter.space}
    save_file(state, path, {"vswap": json.dumps(about, sort_keys=True)})


def read_adapter(path: Path) -> PointAdapter:
    """The adapter in `path`, on the CPU; a `.pth` is read without running any code that it may hold.

    Raises:
        InputError: not a readable point adapter.
    """
    try:
        state, about = _read_pickle(path) if path.suffix in (".pth", ".pt") else _read_safetensors(path)
        return _assemble(state, about)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can't be read ({error}); give an adapter.pth or .safetensors") from error
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a point adapter ({reason}); give the file that a registration wrote") from error


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: holds more than tensors, so it is not loaded; use a safetensors file") from error
    except Exception as error:  # a file that is no pickle at all makes torch.load raise nearly anything
        raise ValueError("damaged") from error
    return from_reference(state), {}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        about = json.loads((file.metadata() or {}).get("vswap", "{}"))
    return (state if "levels.0.hidden.weight" in state else from_reference(state)), about


def _assemble(state: Mapping[str, Tensor], about: Mapping[str, object]) -> PointAdapter:
    hidden, embedding = state["levels.0.hidden.weight"].shape
    levels = sum(name.endswith("output.weight") for name in state)
    widths = [len(state[f"levels.{level}.output.bias"]) for level in range(levels)]
    points, space = about.get("points", ()), about.get("space", "")
    if not isinstance(points, list | tuple) or not isinstance(space, str):
        raise ValueError("its description is damaged")
    adapter = PointAdapter(embedding, widths, hidden, points=points, space=space)
    adapter.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return adapter
