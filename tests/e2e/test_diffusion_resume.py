"""A diffusion run that is killed at any moment, in inversion, registration or sampling, ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from tiny_swap import write_job, write_models

from .test_resume import content, start

KILLS = int(os.environ.get("VSWAP_KILLS", "1"))
"""How many moments to try; each costs two runs. The figure in the notes comes from 8."""


@pytest.mark.slow
def test_a_killed_diffusion_run_is_finished_by_the_next_with_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    swapper = {"name": "point-diffusion", "steps": 20, "registration_steps": 20, "checkpoint_every": 3}
    job = write_job(write_models(tmp_path / "models"), tmp_path / "job", swapper=swapper | {"self_replace": 0.3})
    began = time.perf_counter()
    assert start(job, tmp_path / "run", tmp_path / "whole").wait() == 0
    took = time.perf_counter() - began
    expected = content(tmp_path / "run")
    moments = random.Random(7)
    for kill in range(KILLS):
        store = tmp_path / f"store{kill}"
        process = start(job, tmp_path / "run", store)
        time.sleep(moments.uniform(0.5, 0.95) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert start(job, tmp_path / "run", store).wait() == 0
        assert content(tmp_path / "run") == expected
        assert [*(store / "tmp").iterdir(), *(store / "scratch").iterdir()] == []
