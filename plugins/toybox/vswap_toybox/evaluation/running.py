"""Runs methods on the clips of a suite; what is finished is kept, so that a killed evaluation goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

from vswap_evaluation.processes import end_with_parent
from vswap_kernel.api import StageEvent
from vswap_kernel.errors import ConfigError, InputError, PluginError, VswapError
from vswap_kernel.registry import Registry
from vswap_toybox.evaluation.bench import Bench, Evaluation, Row
from vswap_toybox.evaluation.methods import Method
from vswap_toybox.evaluation.watching import Step


def evaluate(asked: Evaluation, registry: Registry, tell: Callable[[Step], None]) -> dict[str, list[Row]]:
    """Run every method on every clip, and judge what comes out: rows by method, one a clip; and each clip's sheet.

    A run that fails is a row with its error, and is tried again next time.

    Raises:
        ConfigError: a method's job names what there isn't, or components that don't fit together.
        PluginError: one that can't be used here.
    """
    _check(Bench(asked, 0, registry), asked.methods)
    clips = _in_turn(asked, registry, tell) if asked.jobs == 1 else _side_by_side(asked, tell)
    found = [rows for _, rows in sorted(clips.items())]
    return {method.name: [rows[method.name] for rows in found] for method in asked.methods}


def _in_turn(asked: Evaluation, registry: Registry, tell: Callable[[Step], None]) -> dict[int, dict[str, Row]]:
    """Each clip's rows by method."""
    found, count = {}, len(asked.methods)
    for index in range(asked.clips):
        start = Step(index * count, asked.clips * count, f"clip {index}")
        found[index] = _rows(Bench(asked, index, registry), asked.methods, start, tell)
    return found


def _rows(bench: Bench, methods: Sequence[Method], start: Step, tell: Callable[[Step], None]) -> dict[str, Row]:
    rows = {}
    for place, method in enumerate(methods):
        step = replace(start, done=start.done + place, what=f"{start.what} {method.name}")
        tell(step)
        rows[method.name] = bench.row(method, partial(_tell_stage, tell, step))
        tell(replace(step, done=step.done + 1, row=rows[method.name]))
    bench.write_sheet()
    return rows


def _side_by_side(asked: Evaluation, tell: Callable[[Step], None]) -> dict[int, dict[str, Row]]:
    """The same, `asked.jobs` clips at once, each in a process of its own with its share of the cores.

    Raises:
        VswapError: a process was killed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // asked.jobs)))
    found: dict[int, dict[str, Row]] = {}
    step = Step(0, asked.clips * len(asked.methods), f"{asked.jobs} clips at once")
    tell(step)
    pool = ProcessPoolExecutor(min(asked.jobs, asked.clips), get_context("spawn"), end_with_parent)
    try:
        clips = {pool.submit(_alone, asked, index): index for index in range(asked.clips)}
        for future in as_completed(clips):
            found[clips[future]] = future.result()
            for name, row in found[clips[future]].items():
                step = replace(step, done=step.done + 1, what=f"clip {clips[future]} {name}", row=row)
                tell(step)
    except BrokenProcessPool:
        raise VswapError(
            f"a process of {asked.jobs} was killed, perhaps for memory; the same command with fewer --jobs goes on"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _alone(asked: Evaluation, index: int) -> dict[str, Row]:
    """What a process does."""
    return _rows(Bench(asked, index, Registry.discover()), asked.methods, Step(0, 0, ""), lambda step: None)


def _tell_stage(tell: Callable[[Step], None], step: Step, event: StageEvent) -> None:
    tell(replace(step, what=f"{step.what}: {event.stage}"))


def _check(bench: Bench, methods: Sequence[Method]) -> None:
    """Plan every method on one clip: what is wrong with a method is told before anything runs."""
    for method in methods:
        try:
            bench.plan_key(method)
        except (ConfigError, PluginError):
            raise
        except InputError:
            continue  # of this clip alone, perhaps: it becomes a row
