"""How far an evaluation is, shown while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from vswap_kernel.cli.output import err

Result = TypeVar("Result")


@dataclass(frozen=True)
class Step:
    """How far it is: `done` of `total` rows, and what is at work; `row` is the one that is new, if one is."""

    done: int
    total: int
    what: str
    row: dict[str, Any] | None = None


def watched(run: Callable[[Callable[[Step], None]], Result], total: int, *, quiet: bool) -> Result:
    """What `run(tell)` returns, with a bar that estimates the time left; a line a row where nobody watches.

    A row's "error" is a line of its own, even when `quiet`.
    """
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=err, disable=quiet or not err.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def tell(step: Step) -> None:
            progress.update(task, completed=step.done, description=step.what)
            if step.row and step.row["error"]:
                err.print(f"[red]fail[/] {escape(step.what)}: {escape(step.row['error'])}", highlight=False)
            elif step.row and not quiet and not err.is_terminal:
                err.print(f"done {step.done}/{step.total}  {escape(step.what)}", highlight=False)

        return run(tell)
