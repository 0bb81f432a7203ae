"""How a run looks in a terminal: one bar a stage, with an estimate; plain lines where nobody watches."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vswap_kernel.api import StageEvent


class Display:
    """Observes a run. Use it as a context manager; `quiet` shows warnings only."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        stage, note = TextColumn("{task.description:<24}"), TextColumn("{task.fields[note]}", markup=False)
        columns = (SpinnerColumn(), stage, BarColumn(), note, TimeElapsedColumn(), TimeRemainingColumn(compact=True))
        self._progress = Progress(*columns, console=console, disable=quiet or not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, event: StageEvent) -> None:
        """Show one event."""
        if event.kind == "warning":
            text = escape(f"{event.stage}: {event.message}")
            self._console.print(f"[yellow]warning[/] {text}", highlight=False, soft_wrap=True)
        elif not self._quiet:
            self._show(event)

    def _show(self, event: StageEvent) -> None:
        if event.kind == "start":
            self._tasks[event.stage] = self._progress.add_task(event.stage, total=None, note="")
        elif event.kind == "progress" and event.stage in self._tasks:
            self._progress.update(self._tasks[event.stage], completed=event.done, total=event.total, note=event.message)
        elif event.kind in ("done", "hit", "fail"):
            if event.stage in self._tasks:
                self._progress.remove_task(self._tasks.pop(event.stage))
            mark = {"done": "[green]done[/]", "hit": "[cyan]kept[/]", "fail": "[red]fail[/]"}[event.kind]
            took = f"{event.seconds:6.1f} s" if event.kind == "done" else "        "
            self._console.print(
                f"{mark} {took}  {escape(f'{event.stage:<24} {event.message}')}", highlight=False, soft_wrap=True
            )
