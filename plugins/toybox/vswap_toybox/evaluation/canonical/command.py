"""The command `vswap eval canonical`. Light: what it works with is imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vswap_kernel.cli.output import AsJson, err, out, registry


def canonical(
    suite: Annotated[str, typer.Option(help="which clips: moving, occlusion, turning")] = "moving",
    clips: Annotated[int, typer.Option(min=1, help="how many")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other clips")] = 0,
    methods: Annotated[
        str | None,
        typer.Option(help="names, and YAML files of a canonical's fields (default: all that can run here)"),
    ] = None,
    tracks: Annotated[str, typer.Option(help="exact, or the name of a tracker that finds them")] = "exact",
    masks: Annotated[
        bool, typer.Option("--masks/--no-masks", help="whether canonicals are given the exact masks")
    ] = True,
    length: Annotated[int, typer.Option(help="of the subject in pixels; frames are twice as wide and high")] = 64,
    folder: Annotated[
        Path | None, typer.Option("--out", help="folder of the results (default: runs/eval-canonical-SUITE-SEED)")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="for every method: device=cuda, canonical.iterations=500")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drag points on clips where it is known where they go, and tell how near and how fast. A killed one goes on."""
    from vswap_toybox.evaluation.canonical.bench import Evaluation
    from vswap_toybox.evaluation.canonical.methods import find_canonicals, with_tracker
    from vswap_toybox.evaluation.canonical.running import evaluate
    from vswap_toybox.evaluation.canonical.suites import check_length, suite_named
    from vswap_toybox.evaluation.canonical.tables import write_results
    from vswap_toybox.evaluation.watching import watched

    suite_named(suite)
    found, left_out = find_canonicals(methods, registry())
    for line in left_out:
        err.print(f"[yellow]left out[/] {' '.join(line.split())}", highlight=False)
    target = folder or Path("runs") / f"eval-canonical-{suite}-{seed}"
    tried, changes = with_tracker(found, tracks), tuple(overrides or ())
    asked = Evaluation(suite, clips, seed, tried, target, tracks, changes, check_length(length), masks)
    try:
        total = clips * len(found)
        rows = watched(lambda tell: evaluate(asked, registry(), tell), total, quiet=as_json)
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(130) from None
    data = write_results(asked, rows)
    typer.echo(json.dumps(data)) if as_json else _show(data, target)
    if any(found["failed"] == clips for found in data["methods"].values()):
        raise typer.Exit(1)


def _show(data: dict[str, Any], folder: Path) -> None:
    from rich.table import Table

    from vswap_toybox.evaluation.canonical.figures import DETAILS, FIGURES
    from vswap_toybox.evaluation.pages import figure

    table = Table("canonical", *FIGURES, *DETAILS, "failed", box=None, pad_edge=False)
    for name, found in data["methods"].items():
        table.add_row(name, *(figure(found[each]) for each in (*FIGURES, *DETAILS)), str(found["failed"]))
    out.print(table)
    for name in ("index.html", "results.json", "results.csv"):
        out.print(f"{folder / name}", highlight=False)
