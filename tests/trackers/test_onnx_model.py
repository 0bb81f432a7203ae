from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from tiny_onnx import spot_tracker, spot_video
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance
from vswap_kernel.types import FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.onnx_model import OnnxTracker, preflight
from vswap_trackers.options_models import OnnxOptions
from vswap_trackers.toytrack import WEIGHTS

FACTS = Facts(8, (64, 48), ("a",))
PATH = np.array([(10 + 2 * t, 8 + t) for t in range(20)])


def queries(*points: tuple[int, float, float]) -> PointQueries:
    frame, xy = np.array([p[0] for p in points], np.int32), np.array([p[1:] for p in points], np.float32)
    return PointQueries(tuple(f"p{i}" for i in range(len(points))), frame, xy.reshape(-1, 2))


ASKED = queries((0, 12.25, 9.5), (19, 40.0, 20.0), (7, 30.0, 18.0))


def truth(asked: PointQueries) -> FloatArray:
    return np.asarray(asked.xy + PATH[:, None] - PATH[asked.frame], np.float32)


def track(model: Path, video: Video, asked: PointQueries, **options: Any) -> PointTracks:
    values = OnnxOptions.model_validate({"model": model, **options})
    return OnnxTracker(values, Context(Path())).track(video, asked)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spot_tracker(tmp_path_factory.mktemp("onnx") / "spot.onnx")


@pytest.mark.parametrize("window", [None, 8])
def test_points_follow_what_the_network_finds_both_ways(model: Path, window: int | None) -> None:
    found = track(model, spot_video(PATH), ASKED, window=window, overlap=2, revisit=1)
    np.testing.assert_allclose(found.xy, truth(ASKED), atol=1e-4)
    assert found.visible.all()


def test_hidden_frames_are_hidden_and_points_come_back_after_them(model: Path) -> None:
    video = spot_video(PATH, hidden=(6, 7, 8, 9, 10))
    found = track(model, video, queries((0, 12.0, 9.0)), window=8, overlap=2, revisit=2)
    seen = [t not in (6, 7, 8, 9, 10) for t in range(20)]
    assert found.visible[:, 0].tolist() == seen
    np.testing.assert_allclose(found.xy[seen, 0], truth(queries((0, 12.0, 9.0)))[seen, 0], atol=1e-4)


TRACKS_END, SEEN_END = "tracks = Unsqueeze (both, zero)", "visibility = Unsqueeze (many, zero)"
START, CONSTANTS = "grey = ReduceMean", "float slope"
TAKES, GIVES = "float[1,T,3,H,W] video", "float[1,T,N,2] tracks, float[1,T,N] visibility"


def ending(*steps: str) -> dict[str, str]:
    """The graph with other last steps to its visibility."""
    return {SEEN_END: "\n".join([*steps, "visibility = Unsqueeze (said, zero)"])}


CONVENTIONS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "logits": (ending("said = Expand (logit, wide)"), {"visibility": "logit"}),
    "logits of being hidden": (
        ending("hidden = Neg (logit)", "said = Expand (hidden, wide)"),
        {"visibility": "occlusion-logit"},
    ),
    "bool": (
        ending("said = Greater (many, slope)") | {"float[1,T,N] visibility": "bool[1,T,N] visibility"},
        {"visibility": "bool"},
    ),
    "points before frames": (
        {
            GIVES: "float[1,N,T,2] tracks, float[1,N,T] visibility",
            TRACKS_END: "turned = Transpose <perm = [1, 0, 2]> (both)\n tracks = Unsqueeze (turned, zero)",
        }
        | ending("said = Transpose <perm = [1, 0]> (many)"),
        {"tracks_layout": "nt"},
    ),
    "y first": (
        {"place = Concat <axis = 1> (column, row)": "place = Concat <axis = 1> (row, column)"},
        {"query_order": "tyx", "track_order": "yx"},
    ),
    "colours last, 0 to 1": (
        {
            TAKES: "float[1,T,H,W,3] last",
            CONSTANTS: f"float range = {{255}}, {CONSTANTS}",
            START: f"bright = Mul (last, range)\n video = Transpose <perm = [0, 1, 4, 2, 3]> (bright)\n {START}",
        },
        {"video_input": "last", "video_layout": "thwc", "value_range": "0..1"},
    ),
    "-1 to 1": (
        {
            TAKES: "float[1,T,3,H,W] signed",
            CONSTANTS: f"float range = {{127.5}}, {CONSTANTS}",
            START: f"more = Mul (signed, range)\n video = Add (more, range)\n {START}",
        },
        {"video_input": "signed", "value_range": "-1..1"},
    ),
    "bytes": (
        {TAKES: "uint8[1,T,3,H,W] bytes", START: f"video = Cast <to = 1> (bytes)\n {START}"},
        {"video_input": "bytes"},
    ),
    "two points at a time": ({"float[1,N,3] queries": "float[1,2,3] queries"}, {}),
    "twelve frames at a time": ({TAKES: "float[1,12,3,H,W] video"}, {"overlap": 3, "revisit": 1}),
    "shares of the frame": (
        {
            "row = Div (index, width)": "row = Div (index, width)\n down = Slice (shape, three, four)",
            "spot = Cast <to = 1> (place)": "rough = Cast <to = 1> (place)\n centre = Add (rough, half)\n"
            "sides = Concat <axis = 0> (width, down)\n floats = Cast <to = 1> (sides)\n spot = Div (centre, floats)",
            CONSTANTS: f"float half = {{0.5}}, {CONSTANTS}",
        },
        {"coordinates": "unit"},
    ),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_file_of_other_conventions_is_driven_by_options_alone(name: str, tmp_path: Path) -> None:
    changes, options = CONVENTIONS[name]
    found = track(spot_tracker(tmp_path / "other.onnx", changes), spot_video(PATH), ASKED, **options)
    np.testing.assert_allclose(found.xy, truth(ASKED), atol=1e-3)
    assert found.visible.all()


def test_places_are_those_of_the_video_whatever_size_the_network_sees(model: Path) -> None:
    frames = np.repeat(np.repeat(spot_video(PATH).frames, 4, axis=1), 4, axis=2)
    asked = queries((0, 12.25, 9.5), (7, 30.0, 18.0))
    # a spot of 4 x 4 pixels has its centre between pixels
    found = track(model, Video(frames, 25.0), asked, size=(64, 48))
    np.testing.assert_allclose(found.xy, asked.xy + 4 * (PATH[:, None] - PATH[asked.frame]), atol=1e-3)


def test_sides_are_scaled_to_a_multiple(model: Path) -> None:
    video = spot_video(PATH, (70, 50))
    found = track(model, video, ASKED, multiple_of=8)
    assert np.abs(found.xy - truth(ASKED)).max() < 1.5
    assert np.abs(found.xy - truth(ASKED)).max() > 0


def test_no_points_need_no_usable_file(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    found = track(tmp_path / "broken.onnx", spot_video(PATH), queries())
    assert found.xy.shape == (20, 0, 2)


def test_a_thousand_frames_take_the_memory_of_one_window(model: Path, tmp_path: Path) -> None:
    path = np.array([(8 + t % 40, 10 + t % 30) for t in range(1000)])
    one = spot_video(path[:1]).frames

    def chunks() -> Any:
        for first in range(0, 1000, 50):
            part = np.repeat(one, 50, axis=0)
            part[:, 8, 8] = 30
            part[:, 10, 8] = 30
            for t, (x, y) in enumerate(path[first : first + 50]):
                part[t, y, x] = 255
            yield part

    video = Video.stream(chunks(), tmp_path / "long.safetensors", 25.0)
    asked = queries((0, 20.0, 20.0), (500, 30.0, 20.0))
    tracemalloc.start()
    found = track(model, video, asked, window=24)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = 1000 * 48 * 64 * 3 * 4
    assert peak < whole / 8
    np.testing.assert_allclose(found.xy[:, 0], asked.xy[0] + path - path[0], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"video_input": "clip"},
            r"has no input 'clip' \(video_input\); its inputs: video \[1, 'T', 3, 'H', 'W'\], queries",
        ),
        ({"tracks_output": "xy"}, r"has no output 'xy' \(tracks_output\); its outputs: tracks \[1, 'T', 'N', 2\]"),
        ({"video_input": "queries"}, r"input 'queries' \(video_input\): expected 5 axes"),
        ({"tracks_output": "visibility"}, r"output 'visibility' \(tracks_output\): expected 4 axes"),
    ],
)
def test_names_that_the_file_lacks_are_told_before_the_run(model: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        preflight(OnnxOptions.model_validate({"model": model, **options}), FACTS)


def test_the_contract_of_a_good_file_passes_the_preflight(model: Path) -> None:
    preflight(OnnxOptions(model=model), FACTS)


def test_a_file_that_is_no_network_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"broken\.onnx: not a usable ONNX model"):
        preflight(OnnxOptions(model=tmp_path / "broken.onnx"), FACTS)


def test_a_file_with_too_few_frames_a_call_is_told(tmp_path: Path) -> None:
    short = spot_tracker(tmp_path / "short.onnx", {"float[1,T,3,H,W] video": "float[1,6,3,H,W] video"})
    with pytest.raises(InputError, match="takes 6 frames a call, too few for overlap 8"):
        preflight(OnnxOptions(model=short), FACTS)


def test_a_window_that_cannot_advance_is_told() -> None:
    with pytest.raises(ValueError, match="nothing for overlap 8 and revisit 4"):
        OnnxOptions.model_validate({"model": __file__, "window": 12})


def test_another_layout_than_asked_for_is_told(model: Path) -> None:
    with pytest.raises(InputError, match=r"output 'tracks' is \[1, 20, 2, 2\], expected \[1, 2, 20, 2\]"):
        track(model, spot_video(PATH), ASKED, tracks_layout="nt")


class TestOnnx(TrackerConformance):
    """With the network that is shipped as `toytrack`, all that is told of it in the options."""

    component = "onnx"

    def options_for(self, case: Case, folder: Path) -> dict[str, Any]:
        names = {"video_input": "video", "queries_input": "queries", "tracks_output": "tracks"}
        # whole cells of 8 pixels; on the kit's own case there are a thousand frames to track
        size = (64, 40) if case.name == "patch" else (256, 192)
        return {"model": WEIGHTS, **names, "visibility_output": "visibility", "size": size, "window": 24}
