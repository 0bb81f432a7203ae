"""The first thing that a new user does."""

from __future__ import annotations

import json
from pathlib import Path

from vswap_kernel.video import open_source

from .conftest import Vswap


def test_the_demo_ends_in_a_swapped_clip_a_report_and_metrics(vswap: Vswap, tmp_path: Path) -> None:
    ended = vswap("demo", "demo")
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "demo" / "run"
    result = open_source(run / "result.mp4")
    assert (result.frames, result.size) == (32, (256, 192))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["background"]["values"]["background_psnr"] >= 45
    assert metrics["exact-answer"]["values"]["mask_iou"] > 0.5
    assert "<video" in (run / "report.html").read_text()
    again = vswap("demo", "demo")
    assert "done" not in again.stderr
