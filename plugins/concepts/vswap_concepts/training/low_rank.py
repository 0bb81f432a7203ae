"""Trainable low-rank changes of a model's layers: peft's LoRA (Hu et al., "LoRA", ICLR 2022).

peft puts its own layers in place of the attention's linear ones, inside of the attention modules. The backbone's hooks
sit on those modules, so that both work together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, nn

from vswap_concepts.ed_lora_file import LowRank

TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
_ADAPTER = "concept"


@contextmanager
def low_rank(model: Any, targets: tuple[str, ...], rank: int, generator: Generator) -> Iterator[dict[str, Any]]:
    """peft's layers, by their paths in `model`, in place of those whose path ends in one of `targets`.

    Their change is zero at first. Leaving the context puts the very modules back that were there.
    """
    from peft import LoraConfig, inject_adapter_in_model

    ends = tuple(f".{target}" for target in targets)
    own = {name: module for name, module in model.named_modules() if name.endswith(ends)}
    learning = {parameter: parameter.requires_grad for parameter in model.parameters()}
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets))
    try:
        with torch.random.fork_rng(devices=[]):  # peft draws first values of its own
            inject_adapter_in_model(config, model, _ADAPTER)
        layers = {name: model.get_submodule(name) for name in own}
        for layer in layers.values():
            _begin(layer, generator)
        yield layers
    finally:
        for name, module in own.items():
            model.set_submodule(name, module)
        vars(model).pop("peft_config", None)
        for parameter, wanted in learning.items():
            parameter.requires_grad_(wanted)


def _begin(layer: Any, generator: Generator) -> None:
    """float32 whatever the model computes in; LoRA's usual first values, but the same on every device."""
    down, up = layer.lora_A[_ADAPTER], layer.lora_B[_ADAPTER]
    bound = 1 / math.sqrt(down.weight.shape[1])
    drawn = (torch.rand(down.weight.shape, generator=generator) * 2 - 1) * bound
    down.weight.data = drawn.to(down.weight.device)
    up.weight.data = torch.zeros_like(up.weight, dtype=torch.float32)


def trained(layers: Mapping[str, Any]) -> dict[str, nn.Parameter]:
    """The weights that are learned, by name."""
    found = {}
    for name, layer in layers.items():
        found[f"{name}.down"], found[f"{name}.up"] = layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight
    return found


def changes(layers: Mapping[str, Any], prefix: str = "") -> dict[str, LowRank]:
    """What was learned, peft's factor being part of `up`; `prefix` begins each path that doesn't have it yet."""
    found = {}
    for name, layer in layers.items():
        down, up = layer.lora_A[_ADAPTER].weight.detach(), layer.lora_B[_ADAPTER].weight.detach()
        path = name if name.startswith(prefix) else prefix + name
        found[path] = LowRank(down.float().cpu().clone(), (up.float() * layer.scaling[_ADAPTER]).cpu().clone())
    return found
