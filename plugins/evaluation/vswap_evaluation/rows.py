"""Rows of results, each in a file of its own under the key of all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, however the process ends."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def keep_row(path: Path, key: str, row: Mapping[str, Any]) -> None:
    """Write a row of JSON values to `path`."""
    write_whole(path, json.dumps({"key": key, "row": row}))


def kept_row(path: Path, key: str) -> dict[str, Any] | None:
    """The row at `path`; None where there is none, it is of another key, or it can't be read."""
    try:
        data = json.loads(path.read_text())
        return dict(data["row"]) if data["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
