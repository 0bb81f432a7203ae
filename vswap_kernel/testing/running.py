"""Runs the checks on a registered component."""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import Any

from vswap_kernel.api import API_VERSION, CaseSpec, ComponentSpec
from vswap_kernel.errors import InputError
from vswap_kernel.hooks import FAMILIES
from vswap_kernel.registry import Registry
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks import CHECKS, Listed
from vswap_kernel.testing.tried import Options, Tried

discover = cache(Registry.discover)
_made: Callable[[str], Case] = cache(lambda factory: resolve_name(factory)())


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


def check_spec(spec: ComponentSpec) -> None:
    """The spec says what users and the planner need."""
    words = [*spec.capabilities, *spec.accepts, *sum(spec.accepts.values(), ())]
    rules: dict[str, Any] = {
        "summary: expected one line": spec.summary and "\n" not in spec.summary,
        'factory: expected "package.module:Class"': all(spec.factory.partition(":")),
        "requires, install: expected both or neither": bool(spec.requires) == bool(spec.install),
        "capabilities, accepts: expected words": all(isinstance(word, str) for word in words),
        f"accepts: expected keys of {', '.join(FAMILIES)}": spec.accepts.keys() <= FAMILIES.keys(),
        f"api: expected 1 to {API_VERSION}": 1 <= spec.api <= API_VERSION,
    }
    rules |= {f"option {name}: expected a description": x.description for name, x in spec.options.model_fields.items()}
    assert all(rules.values()), f"spec of {spec.name!r}: {'; '.join(rule for rule, ok in rules.items() if not ok)}"


def load_cases(registry: Registry) -> dict[str, CaseSpec]:
    """By name, the kit's own case, then those of the plugins (hook `vswap_cases`)."""
    found = sorted((spec for specs in registry.hook.vswap_cases() for spec in specs), key=lambda spec: spec.name)
    return {spec.name: spec for spec in (CaseSpec("patch", "vswap_kernel.testing.cases:patch"), *found)}


def trials(tried: Tried, cases: Mapping[str, CaseSpec]) -> dict[str, Callable[[Path], None]]:
    """By "check[case]": what runs it, given an empty folder, and raises AssertionError or Skipped."""
    runs: dict[str, Callable[[Path], None]] = {"check_spec": lambda _: check_spec(tried.component.spec)}
    for check in CHECKS[tried.component.family]:
        for case in list(cases.values())[: 1 if check.once else None]:
            runs[f"{check.run.__name__}[{case.name}]"] = partial(_run, check, tried, case)
    return runs


def _run(check: Listed, tried: Tried, source: CaseSpec, folder: Path) -> None:
    case = copy.deepcopy(_made(source.factory))  # a component may spoil its own
    (folder / "asking").mkdir()
    if reason := tried.why_not(check, case, folder / "asking"):
        raise Skipped(reason)

    def make(asked: Case, scratch: Path) -> Any:
        """For the frames and points asked; the rest of the truth is the case's own, whatever the check withholds."""
        return tried.make(replace(case, video=asked.video, queries=asked.queries, tracks=asked.tracks), scratch)

    check.run(Maker(tried.component.family, make, by_case=True), case, folder)


def run_checks(
    family: str,
    name: str,
    options: Options | None = None,
    registry: Registry | None = None,
    expected_failures: Mapping[str, str] | None = None,
    lends: Options | None = None,
) -> list[CheckOutcome]:
    """Every check of a component, on every case.

    Args:
        family, name, options, lends: see `Tried`.
        registry: by default that of what is installed.
        expected_failures: "check[case]" to reason.

    Raises:
        VswapError: no such component, or it has options without a default and `options` doesn't give them.
    """
    registry = registry or discover()
    component = registry.get(family, name)
    required = {key for key, x in component.spec.options.model_fields.items() if x.is_required()}
    if not callable(options) and required - (options or {}).keys():
        raise InputError(f"{family} {name!r} can't be checked without its options {', '.join(sorted(required))}")
    runs = trials(Tried(component, registry, options or {}, lends or {}), load_cases(registry)).items()
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
