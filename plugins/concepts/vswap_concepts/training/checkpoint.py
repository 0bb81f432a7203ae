"""Checkpoints of a training: one safetensors file, so that it is there whole or not at all.

It holds what is learned, AdamW's two running means and step count of each, and (as JSON in its header) the losses so
far and a fingerprint of the training. There is no generator state: see `draws`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vswap_kernel.errors import InputError, StoreError

_KINDS = ("step", "exp_avg", "exp_avg_sq")


def write_checkpoint(
    path: Path,
    fingerprint: str,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.AdamW,
    losses: list[float],
) -> None:
    """Replace the checkpoint, in one stroke."""
    tensors: dict[str, Tensor] = {f"learned/{name}": parameter for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        state = optimiser.state.get(parameter, {})
        tensors |= {f"{kind}/{name}": state[kind] for kind in _KINDS if kind in state}
    partial = path.with_name(f".{path.name}.partial")
    cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(cpu, partial, {"training": json.dumps({"fingerprint": fingerprint, "losses": losses})})
    partial.replace(path)


def read_checkpoint(
    path: Path, fingerprint: str, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.AdamW
) -> list[float]:
    """Put a checkpoint into parameters and optimiser; returns the losses of the steps done.

    Raises:
        InputError: it belongs to another training.
        StoreError: it is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["training"])
            found, losses = str(about["fingerprint"]), [float(loss) for loss in about["losses"]]
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: damaged checkpoint ({error}); delete it to train from the start") from None
    if found != fingerprint:
        raise InputError(
            f"{path}: a checkpoint of another training (other pictures, words, model or options); delete it, or give "
            "another --out"
        )
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        parameter.data.copy_(tensors[f"learned/{name}"])
        kept = {kind: tensors[f"{kind}/{name}"] for kind in _KINDS if f"{kind}/{name}" in tensors}
        if kept:
            state[index] = kept
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return losses
