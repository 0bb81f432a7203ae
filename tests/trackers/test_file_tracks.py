from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.file_tracks import FileTracks, preflight
from vswap_trackers.options_models import FileOptions

XY = np.array([[[3.0, 4.0], [10.0, 7.0]], [[5.5, 6.0], [11.0, 8.0]], [[7.0, 8.0], [12.0, 9.0]]], np.float32)
SEEN = np.array([[True, True], [True, True], [False, True]])


def video(frames: int = 3, size: tuple[int, int] = (64, 48), **place: int) -> Video:
    return Video(np.zeros((frames, size[1], size[0], 3), np.uint8), 25.0, **place)


def asked(names: tuple[str, ...] = ("a", "b"), frame: int = 0, xy: Any = XY[0]) -> PointQueries:
    return PointQueries(names, np.full(len(names), frame, np.int32), np.array(xy, np.float32).reshape(-1, 2))


def arrays(folder: Path, xy: Any = XY, seen: Any = SEEN, **more: Any) -> Path:
    np.savez(folder / "tracks.npz", tracks=xy, visibility=seen, **more)
    return folder / "tracks.npz"


def track(path: Path, clip: Video, queries: PointQueries, **options: Any) -> PointTracks:
    return FileTracks(FileOptions.model_validate({"path": path, **options}), Context(Path())).track(clip, queries)


def test_points_without_names_are_the_runs_in_order(tmp_path: Path) -> None:
    found = track(arrays(tmp_path), video(), asked())
    np.testing.assert_array_equal(found.xy, XY)
    np.testing.assert_array_equal(found.visible, SEEN)
    with pytest.raises(InputError, match=r"2 points without names, the run has 1; name all of them"):
        track(arrays(tmp_path), video(), asked(("a",), xy=XY[0, :1]))


def test_named_points_are_found_in_any_order_and_more_do_not_matter(tmp_path: Path) -> None:
    path = arrays(tmp_path)
    found = track(path, video(), asked(("b",), xy=XY[0, 1]), names=["a", "b"])
    np.testing.assert_array_equal(found.xy[:, 0], XY[:, 1])
    swapped = track(arrays(tmp_path, names=np.array(["b", "a"])), video(), asked(("a", "b"), xy=XY[0, ::-1]))
    np.testing.assert_array_equal(swapped.xy, XY[:, ::-1])
    with pytest.raises(InputError, match="has no point 'nose'; known: a, b"):
        track(path, video(), asked(("nose",), xy=XY[0, 0]), names=["a", "b"])


def test_a_track_is_shifted_by_the_little_that_its_keyframe_is_off(tmp_path: Path) -> None:
    found = track(arrays(tmp_path), video(), asked(frame=1, xy=XY[1] + (1.0, -0.5)))
    np.testing.assert_allclose(found.xy, XY + np.array([1.0, -0.5]), atol=1e-5)
    np.testing.assert_array_equal(found.xy[1], XY[1] + np.array([1.0, -0.5], np.float32))


def test_a_point_elsewhere_on_its_keyframe_is_refused(tmp_path: Path) -> None:
    queries = asked(xy=XY[0] + [(0, 0), (6, 8)])
    with pytest.raises(InputError, match=r"point 'b' is at \(10\.0, 7\.0\) on frame 0, 10\.0 px from where it was set"):
        track(arrays(tmp_path), video(), queries)
    np.testing.assert_array_equal(track(arrays(tmp_path), video(), queries, tolerance=11).xy[0], queries.xy)


def test_on_its_keyframe_a_point_is_visible_whatever_the_file_says(tmp_path: Path) -> None:
    found = track(arrays(tmp_path), video(), asked(frame=2, xy=XY[2]))
    assert found.visible[2].all()


def test_a_keyframe_without_a_place_in_the_file_shifts_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": {"xy": [null, [5, 6], [7, 8]]}}')
    found = track(tmp_path / "a.json", video(), asked(("a",), xy=(30, 20)))
    assert found.xy[:, 0].tolist() == [[30, 20], [5, 6], [7, 8]]


def test_places_out_of_the_frame_are_hidden(tmp_path: Path) -> None:
    xy = XY.copy()
    xy[2, 1] = (64.0, 9.0)
    assert not track(arrays(tmp_path, xy), video(), asked()).visible[2, 1]


def test_tracks_of_the_whole_source_are_cut_to_the_edited_range(tmp_path: Path) -> None:
    xy = np.arange(40, dtype=np.float32).reshape(10, 2, 2)
    path = arrays(tmp_path, xy, np.ones((10, 2), bool))
    clip = video(3, first=2, step=3, source_frames=10)
    np.testing.assert_array_equal(track(path, clip, asked(xy=xy[2])).xy, xy[[2, 5, 8]])
    with pytest.raises(InputError, match=r"it has 10 frames; give 3, one for each edited frame, or 9, one for each"):
        track(path, video(3, first=2, step=3, source_frames=9), asked(xy=xy[2]))


def test_tracks_of_another_size_are_scaled_about_pixel_centres(tmp_path: Path) -> None:
    path = arrays(tmp_path, size=np.array([32, 24]))
    found = track(path, video(), asked(xy=XY[0] * 2 + 0.5))
    np.testing.assert_allclose(found.xy, XY * 2 + 0.5, atol=1e-5)
    with pytest.raises(InputError, match="of a video of 48x48, this one is 64x48: another aspect"):
        track(path, video(), asked(), size=[48, 48])


def test_the_preflight_checks_names_frames_and_size(tmp_path: Path) -> None:
    options = FileOptions(path=arrays(tmp_path, names=np.array(["a", "b"])))
    preflight(options, Facts(3, (64, 48), ("b", "a")))
    preflight(options, Facts(3, (64, 48), ()))
    for facts, message in (
        (Facts(3, (64, 48), ("c",)), "has no point 'c'"),
        (Facts(4, (64, 48), ("a",)), "it has 3 frames; give 4"),
    ):
        with pytest.raises(InputError, match=message):
            preflight(options, facts)


def test_no_points_read_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("broken")
    assert track(tmp_path / "a.json", video(), asked((), xy=())).xy.shape == (3, 0, 2)


class TestFile(TrackerConformance):
    component = "file"

    def options_for(self, case: Case, folder: Path) -> dict[str, Any]:
        truth, path = case.tracks, folder / "truth.json"
        points = {
            name: {"xy": truth.xy[:, i].astype(float).tolist(), "visible": truth.visible[:, i].tolist()}
            for i, name in enumerate(truth.names)
        }
        path.write_text(json.dumps({"size": list(truth.size), "tracks": points}))
        return {"path": path}
