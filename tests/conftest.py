"""What tests of every family share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and weights; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("VSWAP_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "clips").is_dir():
        pytest.skip(f"no real clips at {folder}; set VSWAP_SHARED to have these tests run")
    return folder
