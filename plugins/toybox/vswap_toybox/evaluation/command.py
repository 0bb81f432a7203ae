"""The command `vswap eval swap`. Light: the renderer is imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vswap_kernel.cli.output import AsJson, err, out, registry


def swap(
    suite: Annotated[
        str, typer.Option(help="which clips: toybox/same-shape, shape-change, occlusion, camera, long, turning")
    ],
    clips: Annotated[int, typer.Option(min=1, help="how many")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other clips")] = 0,
    methods: Annotated[
        str, typer.Option(help="source, warp, YAML files of fields that replace the job's, names in examples/ablations")
    ] = "source,warp",
    folder: Annotated[
        Path | None, typer.Option("--out", help="folder of the results (default: runs/eval-SUITE-SEED)")
    ] = None,
    store: Annotated[Path | None, typer.Option("--store", help="where stages are kept (default: OUT/store)")] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the clips in pixels")] = "96x96",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="change a field of every method's job: device=cuda")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="clips at once, each in a process with its share of the cores")] = 1,
    as_json: AsJson = False,
) -> None:
    """Swap the subject of N clips by each method, and compare with the exact answer. A killed one goes on."""
    from vswap_toybox.commands import parse_size
    from vswap_toybox.evaluation.bench import Evaluation
    from vswap_toybox.evaluation.methods import find_methods
    from vswap_toybox.evaluation.running import evaluate
    from vswap_toybox.evaluation.suites import check_size, suite_named
    from vswap_toybox.evaluation.tables import write_results
    from vswap_toybox.evaluation.watching import watched

    suite_named(suite)
    found = find_methods(methods)
    target = folder or Path("runs") / f"eval-{suite.replace('/', '-')}-{seed}"
    asked = Evaluation(
        suite,
        clips,
        seed,
        found,
        target,
        store or target / "store",
        tuple(overrides or ()),
        check_size(parse_size(size)),
        jobs,
    )
    try:
        total = asked.clips * len(asked.methods)
        rows = watched(lambda tell: evaluate(asked, registry(), tell), total, quiet=as_json)
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(130) from None
    data = write_results(asked, rows)
    typer.echo(json.dumps(data)) if as_json else _show(data, target)
    if any(all(row["error"] for row in listed) for listed in rows.values()):
        raise typer.Exit(1)


def _show(data: dict[str, Any], folder: Path) -> None:
    from rich.table import Table

    from vswap_toybox.evaluation.pages import figure
    from vswap_toybox.evaluation.scoring import FIGURES

    methods = data["methods"]
    table = Table("", *methods, box=None, pad_edge=False)
    for each in FIGURES:
        pairs = [(found["mean"][each], found["spread"][each]) for found in methods.values()]
        table.add_row(each, *(f"{figure(mean)} ±{figure(spread, 2)}" for mean, spread in pairs))
    failed = [sum(bool(row["error"]) for row in found["clips"]) for found in methods.values()]
    table.add_row("failed", *map(str, failed))
    out.print(table)
    for name in ("index.html", "results.json", "results.csv"):
        out.print(f"{folder / name}", highlight=False)
