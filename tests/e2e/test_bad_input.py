"""Wrong input is one clear line and exit code 2, before anything is computed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from vswap_kernel.encode import write_png, write_video

from .conftest import Vswap


def points(folder: Path, **fields: object) -> None:
    data = {"frame": 0, "points": {"front": [60, 40], "back": [20, 40]}} | fields
    (folder / "points.json").write_text(json.dumps(data))


def configured(folder: Path, **fields: object) -> None:
    config = yaml.safe_load((folder / "swap.yaml").read_text()) | fields
    (folder / "swap.yaml").write_text(yaml.safe_dump(config))


def no_frames(folder: Path) -> None:
    shutil.rmtree(folder / "source")
    (folder / "source").mkdir()


def text_as_video(folder: Path) -> None:
    (folder / "clip.mp4").write_text("not a video at all\n" * 50)
    configured(folder, video={"path": "clip.mp4"})


def truncated_video(folder: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (30, 80, 96, 3), dtype=np.uint8)
    write_video(folder / "clip.mp4", [frames], 12)
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "clip.mp4").write_bytes(whole[: len(whole) // 2])
    configured(folder, video={"path": "clip.mp4"})


def masks_of_another_size(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        write_png(path, np.zeros((80, 200), np.uint8))


def too_few_masks(folder: Path) -> None:
    next((folder / "masks").iterdir()).unlink()


CASES: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: configured(f, video={"path": "absent.mp4"}), "video.path: no such file or folder"),
    (text_as_video, "clip.mp4"),
    (truncated_video, "clip.mp4"),
    (no_frames, "source"),
    (lambda f: configured(f, video={"path": "source", "start": 40}), "beyond the end"),
    (lambda f: points(f, points={"front": [60, 400]}), "point 'front' at (60.0, 400.0) is outside the 96x80 frame"),
    (lambda f: points(f, points={"front": [10, 90], "back": [11, 85]}), "look like (y, x)"),
    (lambda f: points(f, frame=12), "12 is beyond the end, the video has 12 frames, 0 to 11"),
    (
        lambda f: (f / "points.json").write_text('{"points": {"a": [1, 1], "a": [2, 2]}}'),
        "'a' stands there more than once",
    ),
    (lambda f: points(f, points={"nose": [60, 40]}), "front"),  # the picture has no point of that name
    (lambda f: configured(f, edit={"drop": ["nose"]}), "edit.drop: there is no point 'nose'"),
    (masks_of_another_size, "200x80"),
    (too_few_masks, "it has 11 frames; give 12"),
    (lambda f: configured(f, tracker={"name": "lucas-canade"}), "did you mean 'lucas-kanade'?"),
    (lambda f: configured(f, tracker={"name": "lucas-kanade", "levls": 3}), "did you mean 'levels'?"),
    (lambda f: configured(f, swapper={"name": "warp", "feather": "soft"}), "swapper.feather"),
    (lambda f: configured(f, concept=None), "needs a concept"),
    (lambda f: configured(f, masks=None), "needs a masks component"),
]


@pytest.mark.parametrize(("spoil", "message"), CASES, ids=[message for _, message in CASES])
def test_wrong_input_is_one_line(
    job: Path, vswap: Vswap, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "job"
    shutil.copytree(job.parent, folder)
    spoil(folder)
    ended = vswap("run", folder / "swap.yaml", "--out", tmp_path / "run")
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stdout == ""
    assert not (tmp_path / "run").exists()
