"""Against small networks with the recorded inputs and outputs, not against the real TAPIR, which can't be had here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from tiny_onnx import spot_video
from tiny_tapir import PATIENCE, tapir_files
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.options_models import TapirOptions
from vswap_trackers.tapir import Tapir, preflight

PATH = np.array([(10 + 2 * t, 8 + t) for t in range(16)])
SIZE = (64, 64)


def asked(*points: tuple[int, float, float]) -> PointQueries:
    frame, xy = np.array([p[0] for p in points], np.int32), np.array([p[1:] for p in points], np.float32)
    return PointQueries(tuple(f"p{i}" for i in range(len(points))), frame, xy.reshape(-1, 2))


POINTS = asked((0, 12.25, 9.5), (15, 40.0, 20.0), (7, 30.0, 18.0), (7, 26.0, 12.0), (3, 20.0, 20.0))


def track(files: dict[str, Path], video: Video, queries: PointQueries) -> PointTracks:
    return Tapir(TapirOptions.model_validate(files), Context(Path())).track(video, queries)


def truth(queries: PointQueries) -> FloatArray:
    return np.asarray(queries.xy + PATH[:, None] - PATH[queries.frame], np.float32)


@pytest.mark.parametrize("points", ["N", "2", "8"])
def test_points_are_tracked_both_ways_from_their_keyframes_in_files_of_any_number(points: str, tmp_path: Path) -> None:
    found = track(tapir_files(tmp_path, points), spot_video(PATH, SIZE), POINTS)
    np.testing.assert_allclose(found.xy, truth(POINTS), atol=1e-3)


def test_an_encoder_that_asks_for_the_resolution_is_told_it(tmp_path: Path) -> None:
    # it then wants its points as shares of that resolution
    given = {
        "hires_feats_grid)\n     =>": "hires_feats_grid, int64[2] input_resolution)\n     =>",
        "offset = Sub (xy, spot)": "sides = Cast <to = 1> (input_resolution)\n share = Div (xy, sides)\n"
        "again = Mul (share, whole_side)\n offset = Sub (again, spot)",
        "int64[1] wide = {128}": "int64[1] wide = {128}, float whole_side = {64}",
    }
    found = track(tapir_files(tmp_path, "2", given), spot_video(PATH, SIZE), POINTS)
    np.testing.assert_allclose(found.xy, truth(POINTS), atol=1e-3)


def test_the_state_starts_empty_on_the_keyframe_and_is_carried_on(tmp_path: Path) -> None:
    found = track(tapir_files(tmp_path, "2"), spot_video(PATH, SIZE), POINTS)
    away = np.abs(np.arange(16)[:, None] - POINTS.frame)
    np.testing.assert_array_equal(found.visible, away < PATIENCE)


def test_places_are_those_of_a_video_that_is_not_square(tmp_path: Path) -> None:
    frames = np.repeat(np.repeat(spot_video(PATH, SIZE).frames, 2, axis=1), 4, axis=2)
    queries = asked((0, 50.0, 19.0), (7, 120.0, 36.0))
    found = track(tapir_files(tmp_path), Video(frames, 25.0), queries)
    steps = (PATH[:, None] - PATH[queries.frame]) * np.array([4, 2])
    np.testing.assert_allclose(found.xy, queries.xy + steps, atol=1e-3)


def test_no_points_and_one_frame_open_no_file(tmp_path: Path) -> None:
    files = dict.fromkeys(("model", "encoder"), tmp_path / "empty.onnx")
    files["model"].write_bytes(b"")
    assert track(files, spot_video(PATH, SIZE), asked()).xy.shape == (16, 0, 2)
    assert track(files, spot_video(PATH[:1], SIZE), asked((0, 3.0, 4.0))).visible.all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_frame": "picture"}, r"tapir\.onnx: has no input 'input_frame' \(input_frame\); its inputs: picture"),
        ({"visibles": "occlusions"}, r"has no output 'visibles' \(visibles\); its outputs: tracks"),
        ({"query_points": "points_yx"}, r"tapir_pointencoder\.onnx: has no input 'query_points'"),
        ({"float[2,3,N,2,2560] causal_state)": "float[2,3,N,2,2560] causal_state, float[1] time)"}, "wants time too"),
        ({"float[1,3,64,64]": "float[1,3,R,R]"}, "leaves open more than the number of points"),
        ({"float[1,N,2] query_points": "float[1,5,2] query_points"}, "takes another number of points than"),
    ],
)
def test_files_of_another_kind_are_told_before_the_run(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    files = tapir_files(tmp_path, "N", changes)
    with pytest.raises(InputError, match=message):
        preflight(TapirOptions.model_validate(files), Facts(8, SIZE, ("a",)))


def test_good_files_pass_the_preflight(tmp_path: Path) -> None:
    preflight(TapirOptions.model_validate(tapir_files(tmp_path, "7")), Facts(8, SIZE, ("a",)))
