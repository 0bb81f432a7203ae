"""The command `vswap eval trackers`. Light: what it works with is imported when it runs."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vswap_kernel.cli.output import AsJson, err, out, registry

if TYPE_CHECKING:
    from vswap_trackers.evaluation.running import Evaluation, Row


class Mode(StrEnum):
    """TAP-Vid's query modes."""

    first = "first"
    strided = "strided"


def trackers(
    data: Annotated[Path, typer.Option(help="a clip's folder, a folder of clips, or TAP-Vid's .pkl")],
    names: Annotated[
        str | None,
        typer.Option("--trackers", help="names, and YAML files of a tracker's fields (default: all that can run here)"),
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="queries: each point where it is first seen, or every fifth frame")
    ] = Mode.first,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT that trackers are given, as 256x256 (default: each clip's own)")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="folder of the results (default: runs/eval-trackers-DATA-MODE)")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="for every tracker: device=cuda, tracker.window=15")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Track points whose places are known, and tell how near, how fast, in how much memory. A killed one goes on."""
    from vswap_trackers.evaluation.tables import write_results

    target = folder or Path("runs") / f"eval-trackers-{data.resolve().stem}-{mode.value}"
    asked = _asked(data, names, tuple(overrides or ()), mode.value, target, _parse_size(size))
    try:
        rows = _watched(asked, quiet=as_json)
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(130) from None
    results = write_results(asked, rows)
    typer.echo(json.dumps(results)) if as_json else _show(results, rows, target)
    if not rows or any(all(row["error"] for row in clips.values()) for clips in rows.values()):
        raise typer.Exit(1)


def _asked(
    data: Path,
    names: str | None,
    overrides: tuple[str, ...],
    mode: str,
    target: Path,
    size: tuple[int, int] | None,
) -> Evaluation:
    """What is asked for; lines say what is left out."""
    from vswap_trackers.evaluation.clips import find_clips
    from vswap_trackers.evaluation.contenders import contenders
    from vswap_trackers.evaluation.running import Evaluation

    found, left_out = contenders(names, overrides, registry())
    clips, unjudged = find_clips(data)
    for line in left_out:
        _skip(line)
    if unjudged:
        _skip(f"clips without truth: {', '.join(unjudged)} (name one as --data to see it tracked)")
    return Evaluation(data, clips, found, mode, target, size)


def _parse_size(text: str | None) -> tuple[int, int] | None:
    from vswap_kernel.errors import InputError

    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384):
        raise InputError(f"--size {text}: expected WIDTHxHEIGHT, as in 256x256")
    return int(width), int(height)


def _skip(line: str) -> None:
    from rich.markup import escape

    err.print(f"[yellow]left out[/] {escape(' '.join(line.split()))}", highlight=False)


def _watched(asked: Evaluation, quiet: bool) -> dict[str, dict[str, Row]]:
    """Evaluate with a bar that estimates the time left; a line a row where nobody watches."""
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from vswap_trackers.evaluation.running import Step, evaluate

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=err, disable=quiet or not err.is_terminal) as progress:
        task = progress.add_task("", total=len(asked.clips) * len(asked.contenders))

        def tell(step: Step) -> None:
            progress.update(task, completed=step.done, total=step.total, description=step.what)
            if step.note:
                _skip(step.note)
            elif step.row and step.row["error"]:
                err.print(f"[red]fail[/] {escape(step.what)}: {escape(step.row['error'])}", highlight=False)
            elif step.row and not quiet and not err.is_terminal:
                err.print(f"done {step.done:.0f}/{step.total}  {escape(step.what)}", highlight=False)

        return evaluate(asked, tell)


def _show(results: dict[str, Any], rows: dict[str, dict[str, Row]], folder: Path) -> None:
    from rich.table import Table

    from vswap_trackers.evaluation.running import FIGURES
    from vswap_trackers.evaluation.tables import figure

    table = Table("tracker", *FIGURES, "failed", box=None, pad_edge=False)
    for name, found in results["trackers"].items():
        failed = sum(row["error"] is not None for row in rows[name].values())
        table.add_row(name, *(figure(found["mean"][each]) for each in FIGURES), str(failed))
    out.print(table)
    for name in ("index.html", "results.json", "results.csv"):
        out.print(f"{folder / name}", highlight=False)
