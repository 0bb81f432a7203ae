"""A fitted atlas on disk: one safetensors file, and what is told about it as JSON in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vswap_canonical.atlas import splines
from vswap_canonical.atlas.layer import Layer
from vswap_canonical.atlas.model import Atlas
from vswap_kernel.errors import StoreError

FILE = "atlas.safetensors"


def write_atlas(path: Path, atlas: Atlas, about: dict[str, Any]) -> None:
    """Write it in one stroke; `about` holds JSON values, keys sorted."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in atlas.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, {"about": json.dumps(about, sort_keys=True)})
    partial.replace(path)


def read_atlas(path: Path, *, colours: bool = True) -> tuple[Atlas, dict[str, Any]]:
    """The atlas and what was told about it; without `colours` it can't be rendered, and is read in a moment.

    Raises:
        StoreError: it isn't one, or it is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            names = [name for name in file.keys() if colours or not name.endswith(("picture", "light"))]  # noqa: SIM118
            state = {name: file.get_tensor(name) for name in names}
        layers = []
        for name in ("subject", "background"):
            rows, columns = state[f"{name}.control"].shape[1:3]
            layer = Layer(state[f"{name}.windows"], (rows - splines.EXTRA, columns - splines.EXTRA))
            if colours:
                layer.picture = torch.nn.Parameter(state[f"{name}.picture"])
            layers.append(layer)
        atlas = Atlas(layers[0], layers[1], state["prior"])
        atlas.load_state_dict(state, strict=colours)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: not a fitted atlas ({type(error).__name__}: {error}); fit it anew") from None
    return atlas, about
