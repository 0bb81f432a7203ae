"""Registers the built-in report, and the commands of `vswap points`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vswap_kernel.api import FinishedRun, hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def vswap_write_report(run: FinishedRun) -> Path:
    """Write `report.html`, one self-contained page, into the run folder."""
    from vswap_reports.page import write_page

    return write_page(run)


@hookimpl
def vswap_cli(groups: Mapping[str, typer.Typer]) -> None:
    """Adds `vswap points write`, `check` and `draw`."""
    from vswap_reports.commands import add_commands

    add_commands(groups["points"])
