"""A small whole job on the Toybox, run by the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vswap_toybox.clip import clip
from vswap_toybox.writing import write_clip

COMMAND = [str(Path(sys.executable).with_name("vswap"))]
Vswap = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a clip of 12 frames of 96x80; nobody changes it."""
    made = clip(3, frames=12, size=(96, 80), subject_class="car", target_class="boat")
    return write_clip(made, tmp_path_factory.mktemp("job"))


@pytest.fixture
def vswap(tmp_path: Path) -> Vswap:
    """Runs `vswap` with a store of the test's own."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "VSWAP_STORE": str(tmp_path / "store"), "COLUMNS": "200"}
        command = [*COMMAND, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=900)

    return call
