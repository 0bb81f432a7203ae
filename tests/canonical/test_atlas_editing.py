from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer

pytest.importorskip("torch")
pytest.importorskip("cv2")

from typer.testing import CliRunner

from turning_scene import scene
from vswap_canonical.commands import add_commands
from vswap_canonical.layered_atlas import LayeredAtlas
from vswap_canonical.register import LayeredAtlasOptions
from vswap_kernel.api import Context
from vswap_kernel.encode import write_png
from vswap_kernel.pictures import read_image
from vswap_kernel.types import Video

VIDEO, MASKS, TRACKS = scene(ground=1.5)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    for name in ("source", "canonical", "scratch"):
        (run / "stages" / name).mkdir(parents=True)
    VIDEO.save(run / "stages" / "source")
    options = LayeredAtlasOptions(iterations=5, registrations=1)
    LayeredAtlas(options, Context(run / "stages" / "scratch")).fit(VIDEO, MASKS, TRACKS, run / "stages" / "canonical")
    return run


def vswap(*words: object) -> tuple[int, str]:
    app = typer.Typer()
    add_commands(app)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["atlas", *map(str, words)])
    return result.exit_code, f"{result.output} {result.exception or ''}"


def rendered(folder: Path) -> np.ndarray:
    return np.stack([read_image(path)[..., :3] for path in sorted(folder.iterdir())]).astype(int)


def test_an_edited_picture_changes_the_subject_in_every_frame_and_nothing_else(
    run_folder: Path, tmp_path: Path
) -> None:
    assert vswap("export", run_folder, tmp_path)[0] == 0
    picture = read_image(tmp_path / "atlas-subject.png")[..., :3]
    assert picture.shape[:2] > (20, 30)
    redder = picture.astype(int) + np.array([60, 0, 0])
    write_png(tmp_path / "red.png", redder.clip(0, 255).astype(np.uint8))
    assert vswap("render", run_folder, "--subject", tmp_path / "red.png", "--out", tmp_path / "frames")[0] == 0
    change = rendered(tmp_path / "frames") - VIDEO.frames
    inside, far = MASKS.frames > 127, np.stack([grown(mask > 127) for mask in MASKS.frames]) == 0
    assert np.median(change[inside][:, 0]) > 40
    assert np.abs(change[..., 1:]).max() <= 1
    assert np.abs(change[far]).max() == 0


def grown(mask: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((17, 17), np.uint8))


def test_a_transparent_edit_changes_nothing(run_folder: Path, tmp_path: Path) -> None:
    vswap("export", run_folder, tmp_path)
    picture = read_image(tmp_path / "atlas-subject.png")[..., :3]
    write_png(tmp_path / "clear.png", np.dstack([255 - picture, np.zeros_like(picture[..., :1])]))
    vswap("render", run_folder, "--subject", tmp_path / "clear.png", "--out", tmp_path / "frames")
    np.testing.assert_array_equal(rendered(tmp_path / "frames"), VIDEO.frames)


def test_the_whole_video_can_come_from_the_atlas(run_folder: Path, tmp_path: Path) -> None:
    assert vswap("render", run_folder, "--whole", "--out", tmp_path / "frames")[0] == 0
    error = rendered(tmp_path / "frames") - VIDEO.frames.astype(int)
    assert np.sqrt((error**2).mean()) < 30


def test_bad_input_is_a_line(run_folder: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "small.png", np.zeros((4, 5, 3), np.uint8))
    for words, line in (
        (("export", tmp_path, tmp_path / "out"), "no layered atlas there"),
        (("render", run_folder, "--out", tmp_path / "x.mp4"), "give an edited picture"),
        (("render", run_folder, "--subject", tmp_path / "small.png", "--out", tmp_path / "x.mp4"), "5x4 pixels"),
    ):
        code, said = vswap(*words)
        assert code != 0
        assert line in " ".join(said.split())
        assert "Traceback" not in said


def test_a_source_of_another_length_is_refused(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "stages" / "source").mkdir(parents=True)
    (tmp_path / "stages" / "canonical").symlink_to(run_folder / "stages" / "canonical")
    Video(VIDEO.frames[:5], 8.0).save(tmp_path / "stages" / "source")
    code, said = vswap("render", tmp_path, "--whole", "--out", tmp_path / "x.mp4")
    assert code != 0
    assert "5" in said
