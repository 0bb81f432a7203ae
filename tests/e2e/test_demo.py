"""The first thing that a new user does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vswap_kernel.pictures import read_image
from vswap_kernel.types import ByteArray, SwapResult
from vswap_kernel.video import open_source

from .conftest import Vswap


def test_the_demo_draws_a_subject_that_the_model_was_never_shown_and_a_second_swap_prepares_nothing(
    vswap: Vswap, tmp_path: Path
) -> None:
    ended = vswap("demo", "demo")
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "demo" / "run"
    result = open_source(run / "result.mp4")
    assert (result.frames, result.size) == (16, (64, 64))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["background"]["values"]["background_psnr"] >= 45
    assert metrics["exact-answer"]["values"]["mask_iou"] > 0.4
    answer, drawn, before = (_pink(each) for each in _frames(tmp_path / "demo"))
    assert drawn > max(0.2 * answer, 5 * before)
    assert "<svg" in (run / "report.html").read_text()
    again = vswap("run", tmp_path / "demo" / "clip" / "again.yaml", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert [stage for stage in ("embeddings", "prepare", "swap") if f" {stage} " in _lines(again.stderr, "kept")] == [
        "embeddings",
        "prepare",
    ]


def _frames(demo: Path) -> list[ByteArray]:
    """uint8 [T, H, W, 3] of the exact answer, of the result, and of the source."""
    folders = [demo / "clip" / "answer", demo / "clip" / "source"]
    answer, source = (
        np.stack([read_image(path)[..., :3] for path in sorted(folder.glob("*.png"))]) for folder in folders
    )
    return [answer, SwapResult.load(demo / "run" / "stages" / "swap").video.frames, source]


def _pink(frames: ByteArray) -> float:
    """The share of pixels of the new subject's main colour."""
    return float((np.abs(frames.astype(float) - np.array([242, 140, 178])).max(-1) < 60).mean())


def _lines(text: str, kind: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith(kind))


def test_the_demo_without_a_model_ends_in_a_swapped_clip_a_report_and_metrics(vswap: Vswap, tmp_path: Path) -> None:
    ended = vswap("demo", "demo", "--method", "warp")
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "demo" / "run"
    result = open_source(run / "result.mp4")
    assert (result.frames, result.size) == (32, (256, 192))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["background"]["values"]["background_psnr"] >= 45
    assert metrics["exact-answer"]["values"]["mask_iou"] > 0.5
    assert "<video" in (run / "report.html").read_text()
    again = vswap("demo", "demo", "--method", "warp")
    assert "done" not in again.stderr


def test_an_unknown_demo_is_one_line(vswap: Vswap) -> None:
    ended = vswap("demo", "--method", "wrap")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "error: --method: no demo 'wrap'; did you mean 'warp'? Also known: point-diffusion"
    ]
