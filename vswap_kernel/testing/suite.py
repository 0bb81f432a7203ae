"""Pytest classes: subclass one, name a registered component, and its checks run on every case.

class TestMyTracker(TrackerConformance):
    component = "my-tracker"
    options = {"radius": 3}
    expected_failures = {"check_tracker_accuracy[rotation]": "no rotation in version 1"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from vswap_kernel.api import CaseSpec
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.running import Skipped, discover, load_cases, trials
from vswap_kernel.testing.tried import Tried


class _Conformance:
    family, component = "", ""
    options: Mapping[str, Any] = {}
    lends: Mapping[str, Any] = {}
    cases: tuple[str, ...] = ()
    own_cases: tuple[CaseSpec, ...] = ()
    expected_failures: Mapping[str, str] = {}

    def __init_subclass__(cls, family: str = "") -> None:
        cls.family = family or cls.family

    def options_for(self, case: Case, folder: Path) -> Mapping[str, Any]:
        """Override for options that depend on the case (files that the component reads)."""
        return self.options

    def lends_for(self, case: Case, folder: Path) -> Mapping[str, Any]:
        """Override where the options of what is lent depend on the case, or name files."""
        return self.lends

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        known = {spec.name: spec for spec in self.own_cases} | load_cases(discover())
        component = discover().get(self.family, self.component)
        tried = Tried(component, discover(), self.options_for, self.lends_for)
        runs = trials(tried, {name: known[name] for name in self.cases or known})
        unknown = self.expected_failures.keys() - runs.keys()
        assert not unknown, f"{type(self).__name__}.expected_failures: no such checks: {', '.join(sorted(unknown))}"
        excuses = {key: [pytest.mark.xfail(strict=True, reason=why)] for key, why in self.expected_failures.items()}
        metafunc.parametrize(
            "run", [pytest.param(run, id=key, marks=excuses.get(key, ())) for key, run in runs.items()]
        )

    def test_conformance(self, run: Callable[[Path], None], tmp_path: Path) -> None:
        try:
            run(tmp_path)
        except Skipped as reason:
            pytest.skip(str(reason))


class TrackerConformance(_Conformance, family="tracker"):
    """Does a tracker keep its contract?"""


class MasksConformance(_Conformance, family="masks"):
    """Does a masks component?"""


class CanonicalConformance(_Conformance, family="canonical"):
    """Does a canonical?"""


class ConceptConformance(_Conformance, family="concept"):
    """Does a concept with a cut-out?"""


class SwapperConformance(_Conformance, family="swapper"):
    """Does a swapper that needs no backbone?"""


class MetricConformance(_Conformance, family="metrics"):
    """Does a metric?"""
