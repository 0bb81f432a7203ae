"""A diffusion run that is killed at any moment, in inversion, registration or sampling, ends with the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from tiny_swap import write_job, write_models

from .test_resume import assert_kills_change_nothing

KILLS = int(os.environ.get("VSWAP_KILLS", "1"))
"""How many moments to try; each costs two runs. The figure in the notes comes from 6."""


@pytest.mark.slow
def test_a_killed_diffusion_run_is_finished_by_the_next_with_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    swapper = {"name": "point-diffusion", "steps": 20, "registration_steps": 20, "checkpoint_every": 3}
    job = write_job(write_models(tmp_path / "models"), tmp_path / "job", swapper=swapper | {"self_replace": 0.3})
    assert_kills_change_nothing(job, tmp_path, KILLS, earliest=0.5)
