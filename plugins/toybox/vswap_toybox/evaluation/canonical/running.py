"""Runs canonicals on the clips of a suite; rows that are finished are kept, so that a killed evaluation goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from vswap_kernel.errors import ConfigError, InputError, PluginError
from vswap_kernel.registry import Registry
from vswap_toybox.evaluation.canonical.bench import Bench, Evaluation, Row
from vswap_toybox.evaluation.canonical.methods import check_overrides
from vswap_toybox.evaluation.watching import Step

Tell = Callable[[Step], None]


def evaluate(asked: Evaluation, registry: Registry, tell: Tell) -> dict[str, list[Row]]:
    """Carry the drags of every clip by every method: rows by method, one a clip; and each clip's contact sheet.

    A method that fails on a clip is a row with its error, and is tried again next time.

    Raises:
        ConfigError: a method's job names what there isn't, or components that don't fit together.
        PluginError: one that can't be used here.
        InputError: the out folder can't be written.
    """
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {asked.out}: can't be written ({error.strerror}); choose another folder") from None
    _check(asked, registry)
    rows: dict[str, list[Row]] = {method.name: [] for method in asked.methods}
    step = Step(0, asked.clips * len(rows), "")
    for index in range(asked.clips):
        step = replace(step, what=f"clip {index}: rendering")
        tell(step)
        bench = Bench(asked, index, registry)
        for method in asked.methods:
            step = replace(step, what=f"clip {index} {method.name}")
            tell(step)
            row = bench.row(method, partial(_note, tell, step))
            rows[method.name].append(row)
            step = replace(step, done=step.done + 1)
            tell(replace(step, row=row))
        bench.write_sheet()
    return rows


def _note(tell: Tell, step: Step, text: str) -> None:
    tell(replace(step, what=f"{step.what}: {text}"))


def _check(asked: Evaluation, registry: Registry) -> None:
    """Plan every method on one clip: what is wrong with a method is told before anything runs."""
    check_overrides(asked.methods, asked.overrides, registry)
    bench = Bench(asked, 0, registry)
    for method in asked.methods:
        try:
            bench.planned(method)
        except (ConfigError, PluginError):
            raise
        except InputError:
            continue  # of this clip alone, perhaps: it becomes a row
