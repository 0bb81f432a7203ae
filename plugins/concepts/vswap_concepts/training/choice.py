"""Which diffusion model is trained on: a registered backbone, by its name or from a config. Loads nothing heavy."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from vswap_kernel.config import Chosen, component_options
from vswap_kernel.errors import InputError, MissingExtraError
from vswap_kernel.registry import Registry

_FAMILY = "sd15-unet"
_INSTALL = "pip install 'vswap[diffusion]'"


def choose_backbone(given: str, weights: str | None, registry: Registry) -> Chosen:
    """The backbone of that name, or that of a YAML file: a run's config, or `name` and options alone.

    Raises:
        InputError: no such backbone or file, options that don't fit, or a model of another kind.
        MissingExtraError: torch, diffusers, transformers or peft isn't installed.
    """
    path = Path(given)
    of_file = path.suffix.lower() in (".yaml", ".yml")
    values = _read(path) if of_file else {"name": given}
    if weights is not None:
        values["weights"] = str(Path(weights).resolve()) if Path(weights).exists() else weights
    component = registry.get("backbone", str(values.pop("name")))
    if _FAMILY not in component.spec.capabilities:
        raise InputError(f"backbone {component.spec.name!r}: an ED-LoRA needs a U-Net of the kind {_FAMILY}")
    missing = [*component.missing, *(name for name in ("peft",) if find_spec(name) is None)]
    if missing:
        raise MissingExtraError(f"vswap concept train needs {', '.join(missing)}, not installed here; run: {_INSTALL}")
    return Chosen(component, component_options(component, values, path.parent if of_file else Path()))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise InputError(f"{path}: not a config that can be read ({reason})") from None
    found = data.get("backbone", data) if isinstance(data, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise InputError(f"{path}: no backbone in it; expected `backbone: {{name: sd15, weights: ...}}`")
    return dict(found)
