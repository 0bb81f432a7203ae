"""What `vswap plugins doctor NAME` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vswap_kernel.cli.output import err, show
from vswap_kernel.config import component_options
from vswap_kernel.errors import ConfigError
from vswap_kernel.models import LENT
from vswap_kernel.registry import Registry
from vswap_kernel.testing.running import run_checks


def try_component(family: str, name: str, options: Sequence[str], registry: Registry, as_json: bool) -> int:
    """Try a component on every case, print what came out, and return the exit code: 1 if a check failed.

    Args:
        options: "option=value" each, the value being YAML; "embedder.name=dift" lends the component another, whose
            options are given alike.

    Raises:
        ConfigError: an option that isn't of that form, that is unknown or of the wrong type.
    """
    if wrong := [item for item in options if "=" not in item]:
        raise ConfigError(f"--set {wrong[0]}: expected option=value, as in radius=3")
    given = {item.partition("=")[0]: yaml.safe_load(item.partition("=")[2]) for item in options}
    lends: dict[str, dict[str, Any]] = {}
    for key in [key for key in given if key.partition(".")[0] in LENT]:
        lent_family, _, option = key.partition(".")
        lends.setdefault(lent_family, {})[option] = given.pop(key)
    if nameless := [lent_family for lent_family, values in lends.items() if not isinstance(values.get("name"), str)]:
        raise ConfigError(f"--set {nameless[0]}: name the component to lend: --set {nameless[0]}.name=NAME")
    checked = component_options(registry.get(family, name), given, Path.cwd()).model_dump(exclude_unset=True)
    outcomes = run_checks(family, name, checked, registry, lends=lends)
    show([vars(outcome) | {"seconds": round(outcome.seconds, 2)} for outcome in outcomes], as_json)
    counts = Counter(outcome.status for outcome in outcomes)
    err.print(", ".join(f"{number} {status}" for status, number in sorted(counts.items())))
    return int(any(outcome.status == "failed" for outcome in outcomes))
