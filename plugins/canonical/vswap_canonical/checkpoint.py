"""Checkpoints of a deformation's training: one safetensors file, so that it is there whole or not at all.

It holds what is learned, what was best so far, and Adam's two running means and step count of each parameter; as JSON
in its header, the course of the training and a fingerprint of what it rests on. There is no generator state: the random
choices of a step come from the seed and its number.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vswap_kernel.errors import InputError, StoreError


@dataclass
class Course:
    """How far training is: steps done, the held-out loss at each check, the learning rate, checks since the best."""

    step: int = 0
    held: list[float] = field(default_factory=list)
    rate: float = 0.0
    stale: int = 0


def write_checkpoint(
    path: Path,
    fingerprint: str,
    model: nn.Module,
    best: dict[str, Tensor],
    optimiser: torch.optim.Adam,
    course: Course,
) -> None:
    """Replace the checkpoint, in one stroke."""
    tensors = {f"learned/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for name, parameter in model.named_parameters():
        tensors |= {f"optimiser/{name}/{kind}": value for kind, value in optimiser.state.get(parameter, {}).items()}
    partial = path.with_name(f".{path.name}.partial")
    about = json.dumps({"fingerprint": fingerprint, **asdict(course)})
    save_file(
        {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, partial, {"training": about}
    )
    partial.replace(path)


def read_checkpoint(
    path: Path, fingerprint: str, model: nn.Module, best: dict[str, Tensor], optimiser: torch.optim.Adam
) -> Course:
    """Put a checkpoint into `model`, `best` and `optimiser`.

    Raises:
        InputError: it belongs to another training.
        StoreError: it is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["training"])
            found = about.pop("fingerprint")
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        course = Course(**about)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: damaged checkpoint ({error}); delete it to train from the start") from None
    if found != fingerprint:
        raise InputError(f"{path}: a checkpoint of another training (other video, tracks or options); delete it")
    model.load_state_dict({name: tensors[f"learned/{name}"] for name in model.state_dict()})
    best.update({name: tensors[f"best/{name}"] for name in best})
    state = {
        index: {
            kind: tensors[key]
            for kind in ("step", "exp_avg", "exp_avg_sq")
            if (key := f"optimiser/{name}/{kind}") in tensors
        }
        for index, (name, _) in enumerate(model.named_parameters())
    }
    state = {index: kinds for index, kinds in state.items() if kinds}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return course
