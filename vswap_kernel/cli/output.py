"""What all commands share: consoles, tables, the registry, the store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vswap_kernel.registry import Registry

if TYPE_CHECKING:
    from vswap_kernel.store import Store

out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = 240  # piped tables are read by programs: no line is broken
state: dict[str, Any] = {}
"""Of this process: "registry", "verbose", "debug"."""

StorePath = Annotated[Path | None, typer.Option("--store", help="where results are kept (or $VSWAP_STORE)")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def registry() -> Registry:
    """The registry made for this process (its plugins may have added commands)."""
    return state.setdefault("registry", None) or Registry.discover()


def open_store(path: Path | None) -> Store:
    """The store that the user named, or the default one."""
    from vswap_kernel.store import Store, default_store

    return Store(path or default_store())


def show(rows: list[dict[str, Any]], as_json: bool, skip: tuple[str, ...] = ()) -> None:
    """Print rows of equal keys as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    columns = [name for name in (rows[0] if rows else {}) if name not in skip]
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[name])) for name in columns))
    out.print(table)
