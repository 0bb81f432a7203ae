"""What a stage needs to go on: one safetensors file, replaced as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """Attributes:
    step: optimiser steps taken.
    images: pictures seen, by all ranks; the frames of clips count.
    seconds: time spent training, of all sittings.
    loss: its running mean.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    loss: float = 0.0


def save(path: Path, model: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
    """Write parameters, their moving mean, and AdamW's moments under `path`."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"model/{name}"] = parameter.detach()
        for moment in _MOMENTS:
            if moment in optimiser.state[parameter]:
                tensors[f"{moment}/{name}"] = optimiser.state[parameter][moment]
    tensors |= {f"mean/{name}": value.detach() for name, value in mean.named_parameters()}
    write_tensors(path, {name: value.cpu().contiguous() for name, value in tensors.items()}, asdict(progress))


def restore(path: Path, model: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Read back what `save` wrote; a fresh `Progress` where there is no such file."""
    if not path.is_file():
        return Progress()
    with safe_open(path, "pt") as file, torch.no_grad():
        held = set(file.keys())
        for name, parameter in model.named_parameters():
            parameter.copy_(file.get_tensor(f"model/{name}"))
            moments = {moment: file.get_tensor(f"{moment}/{name}") for moment in _MOMENTS if f"{moment}/{name}" in held}
            for moment in moments.keys() - {"step"}:
                moments[moment] = moments[moment].to(parameter.device)
            if moments:
                optimiser.state[parameter] = moments
        for name, value in mean.named_parameters():
            value.copy_(file.get_tensor(f"mean/{name}"))
        return Progress(**json.loads(file.metadata()["about"]))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
    """A safetensors file with `about` in its header, that appears under its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(dict(tensors), part, {"about": json.dumps(about)})
    part.replace(path)


def read_about(path: Path) -> dict[str, object]:
    """The header that `write_tensors` wrote."""
    with safe_open(path, "pt") as file:
        about: dict[str, object] = json.loads(file.metadata()["about"])
    return about
