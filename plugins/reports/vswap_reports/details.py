"""The config and the environment of a run, told without the paths of the machine it ran on."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml


def config_text(folder: Path) -> str:
    """The resolved config as YAML; "" when the run folder has none."""
    file = folder / "config.yaml"
    return _yaml(portable(yaml.safe_load(file.read_text()))) if file.is_file() else ""


def environment(folder: Path) -> list[tuple[str, str, bool]]:
    """(what, text, long) of each entry of environment.json: `long` ones are folded away. Empty when there is none."""
    file = folder / "environment.json"
    if not file.is_file():
        return []
    data = portable(json.loads(file.read_text()))
    entries = data if isinstance(data, dict) else {"environment": data}
    return [
        (name, _yaml(value) if isinstance(value, dict | list) else str(value), isinstance(value, dict | list))
        for name, value in sorted(entries.items())
    ]


def portable(value: Any) -> Any:
    """`value` with each absolute path in it cut to its last part: the same page on every machine, and no home folder
    in a page that is passed on."""
    if isinstance(value, dict):
        return {name: portable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [portable(item) for item in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() and kind(value).name:
                return f"…/{kind(value).name}"
    return value


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text.rstrip()
