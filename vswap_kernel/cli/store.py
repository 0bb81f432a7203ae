"""`vswap store`: results kept from earlier runs."""

from __future__ import annotations

from typing import Annotated

import typer

from vswap_kernel.cli.output import AsJson, StorePath, err, open_store, out, show
from vswap_kernel.errors import InputError

store = typer.Typer(no_args_is_help=True, help="Results kept from earlier runs.")


@store.command("list")
def store_list(kept: StorePath = None, as_json: AsJson = False) -> None:
    """List what is kept, last used first."""
    entries = open_store(kept).entries()
    rows = [
        {
            "key": e.key[:12],
            "stage": e.stage,
            "component": e.ingredients.get("component", ""),
            "megabytes": round(e.size / 1e6, 1),
        }
        for e in entries
    ]
    show(rows, as_json)
    err.print(f"{len(rows)} results, {sum(e.size for e in entries) / 1e6:.1f} MB")


@store.command("prune")
def store_prune(
    kept: StorePath = None,
    days: Annotated[float | None, typer.Option(min=0, help="what wasn't used for so many days")] = None,
    keep: Annotated[float | None, typer.Option(min=0, help="all but so many megabytes of what was used last")] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="entries whose content has changed")] = False,
    everything: Annotated[bool, typer.Option("--all", help="all of it")] = False,
) -> None:
    """Remove results. Links in run folders to what is removed go dead; results and reports there stay."""
    if days is None and keep is None and not damaged and not everything:
        raise InputError("store prune: say what goes: --days N, --keep MEGABYTES, --damaged or --all")
    removed = open_store(kept).prune((days or 0) * 86400, int((keep or 0) * 1e6), damaged)
    out.print(f"removed {len(removed)} results, {sum(entry.size for entry in removed) / 1e6:.1f} MB")
