"""`cotracker` on the kit's cases: a package of the recorded signatures, in it a small tracker that isn't CoTracker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from small_cotracker import checkout
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in as if it were installed."""
    monkeypatch.syspath_prepend(str(checkout(tmp_path / "site", "Matcher")))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "cotracker"]:
        del sys.modules[name]


class TestOffline(TrackerConformance):
    component = "cotracker"
    mode = "offline"

    def options_for(self, case: Case, folder: Path) -> dict[str, Any]:
        torch.save({"gain": torch.ones(())}, folder / "scaled.pth")
        # short windows, so that clips are cut and points carried on; a subject that is away for longer needs a long one
        window = 48 if case.name == "out-of-frame" else 16
        return {"weights": folder / "scaled.pth", "mode": self.mode, "window": window, "overlap": 4}


class TestOnline(TestOffline):
    mode = "online"
