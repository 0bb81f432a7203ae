"""Registers the commands that read and write the files of VideoSwap's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vswap_kernel.api import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def vswap_cli(app: typer.Typer, groups: Mapping[str, typer.Typer]) -> None:
    """Adds `vswap import-reference`, `vswap points from-annotation` and `vswap points to-annotation`."""
    from vswap_reference.commands import add_commands

    add_commands(app, groups["points"])
