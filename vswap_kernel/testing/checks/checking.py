"""What a check is, and where each family's checks are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vswap_kernel.hooks import FAMILIES
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case

Check = Callable[[Maker, Case, Path], None]


@dataclass(frozen=True)
class Listed:
    """A check and when it applies.

    Attributes:
        run: the check.
        once: one case is enough.
        capability: without it in the component's spec the check doesn't apply; "": it always does.
        any_points: it asks for points that no case has, which trackers of certain points alone can't find.
    """

    run: Check
    once: bool
    capability: str
    any_points: bool


CHECKS: dict[str, list[Listed]] = {family: [] for family in FAMILIES}
"""By family, its checks."""


def check(
    *families: str, once: bool = False, capability: str = "", any_points: bool = False
) -> Callable[[Check], Check]:
    """Decorator: a check of these families; the rest as in `Listed`."""

    def register(run: Check) -> Check:
        for family in families:
            CHECKS[family].append(Listed(run, once, capability, any_points))
        return run

    return register


def expect(case: Case, holds: Any, wanted: str, got: object) -> None:
    """Raise AssertionError unless `holds`."""
    assert holds, f"case {case.name!r}: expected {wanted}; got {got}"
