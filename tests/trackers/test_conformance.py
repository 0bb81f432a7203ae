from pathlib import Path
from typing import Any

from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance


class TestLucasKanade(TrackerConformance):
    component = "lucas-kanade"


def short_side(case: Case) -> int:
    """Toybox's frames as they are, which takes a sixth of the time of the default; the kit's own case, on which there
    are a thousand frames to track, smaller still."""
    return 32 if case.name == "patch" else 96


class TestDisFlow(TrackerConformance):
    component = "dis-flow"

    def options_for(self, case: Case, folder: Path) -> dict[str, Any]:
        return {"short_side": short_side(case)}


class TestEnsemble(TrackerConformance):
    """Of the two quickest, without the way back."""

    component = "ensemble"

    def options_for(self, case: Case, folder: Path) -> dict[str, Any]:
        members = ({"name": "lucas-kanade"}, {"name": "dis-flow", "short_side": short_side(case)})
        return {"trackers": members, "cycle": None}
