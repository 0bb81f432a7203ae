"""Reads atlases of the reference implementation: `{network: {"hidden.0.weight": ...}}` in a `.pth`, never run as code.

Such a file says nothing of how its networks are made; their shapes do.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vswap_canonical.reference.networks import INPUTS_AND_OUTPUTS, NetworkSettings, ReferenceNetworks
from vswap_kernel.errors import InputError

REFERENCE_NAMES = {
    "foreground_mapping": "FG_UV_Mapping",
    "foreground_inverse": "FG_UV_Mapping_Inverse",
    "background_mapping": "BG_UV_Mapping",
    "atlas": "F_Atlas",
    "opacity": "F_Alpha",
}
"""Our names of the networks to those of the reference."""


def read_reference_checkpoint(path: Path, settings: Mapping[str, NetworkSettings] | None = None) -> ReferenceNetworks:
    """The five networks of a `.pth`, on the CPU in float32.

    Args:
        path: as VideoSwap's atlas training writes it; what else it holds is left alone.
        settings: the networks' shapes by our names; None: told by the tensors' shapes.

    Raises:
        InputError: no readable file of weights, a network is missing, has other shapes, or is hash-encoded.
    """
    state = _load(path)
    missing = [name for name in REFERENCE_NAMES.values() if not isinstance(state.get(name), Mapping)]
    if missing:
        raise InputError(
            f"{path}: not an atlas of the reference, it lacks {', '.join(missing)}; give the .pth with "
            f"{', '.join(REFERENCE_NAMES.values())}"
        )
    for name in REFERENCE_NAMES.values():
        _refuse_other_tensors(f"{path}: {name}", state[name])
    try:
        found = settings or {name: infer_settings(name, state[REFERENCE_NAMES[name]]) for name in REFERENCE_NAMES}
    except ValueError as error:
        raise InputError(f"{path}: {error}; give an atlas of plain networks") from None
    networks = ReferenceNetworks(found)
    for name, theirs in REFERENCE_NAMES.items():
        _fill(f"{path}: {theirs}", networks.get_submodule(name), state[theirs])
    return networks


def settings_of_reference(options: Mapping[str, Mapping[str, Any]]) -> dict[str, NetworkSettings]:
    """The reference's own description of its networks (hidden_dim, mlp_layers, pe_type, pe_dim, skip_layers by network)
    as our settings.

    Raises:
        InputError: a network is missing, or of a kind that can't be read (hash encoding, fused).
    """
    found = {}
    for name, theirs in REFERENCE_NAMES.items():
        if theirs not in options:
            raise InputError(f"{theirs}: not described; the networks are {', '.join(REFERENCE_NAMES.values())}")
        of = options[theirs]
        if of["pe_type"] not in ("none", "encoding") or of["mlp_type"] != "origin":
            kind = f"pe_type {of['pe_type']}, mlp_type {of['mlp_type']}"
            raise InputError(f"{theirs}: {_unreadable(kind)}")
        frequencies = of["pe_dim"] if of["pe_type"] == "encoding" else 0
        found[name] = NetworkSettings(of["mlp_layers"], of["hidden_dim"], frequencies, tuple(of["skip_layers"]))
    return found


def infer_settings(name: str, state: Mapping[str, Tensor]) -> NetworkSettings:
    """The shape of network `name` (ours) from its weights "hidden.0.weight" [out, in] and on.

    Raises:
        ValueError: no such network has them, with what is wrong.
    """
    theirs, (inputs, _) = REFERENCE_NAMES[name], INPUTS_AND_OUTPUTS[name]
    layers = sum(key.endswith(".weight") for key in state)
    shapes = [tuple(state.get(f"hidden.{index}.weight", torch.empty(0)).shape) for index in range(layers)]
    if layers < 2 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"{theirs} has no weights hidden.0.weight, hidden.1.weight, ... of two axes")
    width, encoded = shapes[0]
    if encoded != inputs and encoded % (2 * inputs):
        raise ValueError(f"{theirs} takes {encoded} values, which no encoding makes of {inputs} coordinates")
    skips = tuple(index for index in range(1, layers) if shapes[index][1] == width + encoded)
    return NetworkSettings(layers, width, 0 if encoded == inputs else encoded // (2 * inputs), skips)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error}); give an atlas .pth") from None
    except pickle.UnpicklingError:
        raise InputError(f"{path}: holds more than tensors, or isn't a .pth; it is not loaded") from None
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        raise InputError(f"{path}: damaged, or not a file of weights ({type(error).__name__})") from None
    return state if isinstance(state, Mapping) else {}


def _unreadable(found: str) -> str:
    return (
        f"{found} can't be read (hash encodings and fused networks need tiny-cuda-nn); train the atlas with pe_type "
        "'encoding' and mlp_type 'origin', or fit it here"
    )


def _refuse_other_tensors(where: str, state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        if not re.fullmatch(r"hidden\.\d+\.(weight|bias)", str(key)) or not isinstance(value, Tensor):
            raise InputError(f"{where}: {_unreadable(repr(key))}")


def _fill(where: str, network: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    wanted = {key: list(value.shape) for key, value in network.state_dict().items()}
    got = {key: list(value.shape) for key, value in state.items()}
    for key in sorted({*wanted, *got}, key=lambda key: (int(key.split(".")[1]), key)):
        if wanted.get(key) != got.get(key):
            raise InputError(
                f"{where}.{key}: expected {wanted.get(key, 'no such tensor')}, got {got.get(key, 'none')}; "
                "the file is damaged, or made with other settings"
            )
    network.load_state_dict({key: value.float() for key, value in state.items()})
