"""Checkpoints of a registration: one safetensors file, so that it is there whole or not at all.

It holds the adapter, AdamW's two running means and step count of each weight, and (as JSON in its header) the step, the
losses so far, and a fingerprint of what is being registered. There is no generator state: see `draws`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vswap_kernel.errors import InputError, StoreError
from vswap_swappers.point_diffusion.adapter import PointAdapter

FILE = "registration.safetensors"


@dataclass(frozen=True)
class Progress:
    """Steps done, and the loss of each (None: a step without any point to learn from)."""

    step: int
    losses: tuple[float | None, ...]


def write_checkpoint(
    folder: Path, fingerprint: str, adapter: PointAdapter, optimiser: torch.optim.AdamW, progress: Progress
) -> None:
    """Replace the checkpoint in `folder` (made where missing), in one stroke."""
    tensors = {f"adapter.{name}": tensor for name, tensor in adapter.state_dict().items()}
    for name, parameter in adapter.named_parameters():
        for kind, tensor in optimiser.state[parameter].items():
            tensors[f"optimiser.{kind}.{name}"] = tensor
    about = {"fingerprint": fingerprint, "step": progress.step, "losses": progress.losses}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE}.partial"
    cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(cpu, partial, {"progress": json.dumps(about)})
    partial.replace(folder / FILE)


def read_checkpoint(
    folder: Path, fingerprint: str, adapter: PointAdapter, optimiser: torch.optim.AdamW
) -> Progress | None:
    """Put the checkpoint in `folder` into adapter and optimiser; None when there is none.

    Raises:
        InputError: it belongs to another registration.
        StoreError: it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        progress = Progress(about["step"], tuple(about["losses"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: damaged checkpoint ({error}); delete it to register from the start") from error
    if about["fingerprint"] != fingerprint:
        raise InputError(
            f"{path}: a checkpoint of another registration (other points, video, model or options); delete it, or give "
            "another folder"
        )
    _restore(tensors, adapter, optimiser)
    return progress


def _restore(tensors: dict[str, Tensor], adapter: PointAdapter, optimiser: torch.optim.AdamW) -> None:
    prefix = "adapter."
    adapter.load_state_dict({name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)})
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, _) in enumerate(adapter.named_parameters()):
        kinds = {kind: tensors.get(f"optimiser.{kind}.{name}") for kind in ("step", "exp_avg", "exp_avg_sq")}
        found = {kind: tensor for kind, tensor in kinds.items() if tensor is not None}
        if found:
            state[index] = found
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
