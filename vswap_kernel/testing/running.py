"""Runs the checks on a registered component."""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import Any

from vswap_kernel.api import CaseSpec, Context
from vswap_kernel.errors import InputError
from vswap_kernel.registry import Component, Registry
from vswap_kernel.testing.asking import NEEDS, Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks import CHECKS, Check, check_spec

Options = Mapping[str, Any] | Callable[[Case, Path], Mapping[str, Any]]
"""Option values; or a function of the case and a folder, for components that read files."""

discover = cache(Registry.discover)


class Skipped(Exception):  # noqa: N818 - not an error
    """The check doesn't apply; the text says why."""


@dataclass(frozen=True)
class CheckOutcome:
    """What came of a check on a case; status: "passed", "failed", "skipped" or "expected failure"."""

    check: str
    case: str
    status: str
    message: str
    seconds: float


def load_cases(registry: Registry) -> dict[str, CaseSpec]:
    """By name, the kit's own case, then those of the plugins (hook `vswap_cases`)."""
    found = sorted((spec for specs in registry.hook.vswap_cases() for spec in specs), key=lambda spec: spec.name)
    return {spec.name: spec for spec in (CaseSpec("patch", "vswap_kernel.testing.cases:patch"), *found)}


@cache
def _made(factory: str) -> Case:
    case: Case = resolve_name(factory)()
    return case


def trials(component: Component, options: Options, cases: Mapping[str, CaseSpec]) -> dict[str, Callable[[Path], None]]:
    """By "check[case]": what runs it, given an empty folder, and raises AssertionError or Skipped."""
    runs: dict[str, Callable[[Path], None]] = {"check_spec": lambda _: check_spec(component.spec)}
    for check, once, capability in CHECKS[component.family]:
        for case in list(cases.values())[: 1 if once else None]:
            runs[f"{check.__name__}[{case.name}]"] = partial(_run, check, capability, component, options, case)
    return runs


def _run(check: Check, capability: str, component: Component, options: Options, source: CaseSpec, folder: Path) -> None:
    spec, need = component.spec, NEEDS.get(component.family, "name")
    case = copy.deepcopy(_made(source.factory))  # a component may spoil its own
    for reason, holds in {
        f"not installed: {', '.join(component.missing)}; run: {spec.install}": component.missing,
        f"only for the capability {capability!r}": capability and capability not in spec.capabilities,
        "the kit has no backbone": "backbone" in spec.accepts,
        f"the case has no {need}": getattr(case, need) is None,
    }.items():
        if holds:
            raise Skipped(reason)
    values = spec.options.model_validate(options(case, folder) if callable(options) else options)
    check(Maker(component.family, lambda scratch: component.create(values, Context(scratch))), case, folder)


def run_checks(
    family: str,
    name: str,
    options: Options | None = None,
    registry: Registry | None = None,
    cases: Collection[str] = (),
    expected_failures: Mapping[str, str] | None = None,
) -> list[CheckOutcome]:
    """Every check of a component, on all cases or those named, in order. `expected_failures`: "check[case]" -> reason.

    Raises:
        VswapError: no such component, or it has options without a default and `options` doesn't give them.
    """
    registry = registry or discover()
    component, known = registry.get(family, name), load_cases(registry)
    needed = [key for key, x in component.spec.options.model_fields.items() if x.is_required()]
    if needed and options is None:
        raise InputError(f"{family} {name!r} can't be checked without its options: {', '.join(needed)}; give them")
    chosen = {key: case for key, case in known.items() if not cases or key in cases}
    runs = trials(component, options or {}, chosen).items()
    return [_outcome(key, run, (expected_failures or {}).get(key, "")) for key, run in runs]


def _outcome(key: str, run: Callable[[Path], None], excuse: str) -> CheckOutcome:
    check, _, case = key.rstrip("]").partition("[")
    start, status, message = time.perf_counter(), "passed", ""
    with TemporaryDirectory() as folder:
        try:
            run(Path(folder))
        except Skipped as reason:
            status, message = "skipped", str(reason)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            raised = f"{type(error).__name__} at {place.filename}:{place.lineno}: {error}"
            status, message = "failed", str(error) if isinstance(error, AssertionError) else raised
    if excuse:
        status = {"failed": "expected failure", "passed": "failed"}.get(status, status)
        message = message or f"passed, but is expected to fail ({excuse}): take it out of the expected failures"
    return CheckOutcome(check, case, status, message, time.perf_counter() - start)
