"""What kind of network a folder holds, told from its config.json: light enough for a preflight."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from vswap_kernel.errors import InputError

Weights = Path | str
"""A folder, or owner/name of a model on the hub."""


def check_kind(weights: Weights, kinds: Iterable[str], field: str) -> None:
    """Look at a folder's config.json, as a preflight; what is on the hub is looked at when it is loaded.

    Args:
        weights: the model.
        kinds: the `model_type`s that will do.
        field: of the run's config, as in "embedder.weights".

    Raises:
        InputError: no folder of a transformers model, another kind of model, or no safetensors file in it.
    """
    if not isinstance(weights, Path):
        return
    try:
        kind = json.loads((weights / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{field}: {weights} is no folder of a transformers model: config.json can't be read "
            f"({type(error).__name__}); give a folder with config.json and model.safetensors"
        ) from None
    refuse_other_kinds(weights, kind, kinds, field)
    if not any(weights.glob("*.safetensors")):
        raise InputError(f"{field}: {weights} has no .safetensors file; pickled weights are not read")


def refuse_other_kinds(weights: Weights, kind: object, kinds: Iterable[str], field: str) -> None:
    """Refuse a model whose `model_type` is none of `kinds`.

    Raises:
        InputError: it is of another kind.
    """
    known = sorted(kinds)
    if kind not in known:
        raise InputError(f"{field}: {weights} is a model of type {kind!r}, expected {' or '.join(known)}")
