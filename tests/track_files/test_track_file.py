from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_kernel.errors import InputError
from vswap_kernel.types import PointTracks
from vswap_track_files.found_tracks import fill_gaps
from vswap_track_files.track_file import read_tracks

XY = np.array([[[3.0, 4.0], [10.0, 7.0]], [[5.5, 6.0], [90.0, 2.0]], [[7.0, 8.0], [11.0, 9.0]]], np.float32)
SEEN = np.array([[True, False], [True, True], [False, True]])


def as_json() -> dict[str, Any]:
    return {name: {"xy": XY[:, i].tolist(), "visible": SEEN[:, i].tolist()} for i, name in enumerate(("nose", "tail"))}


def written(folder: Path, kind: str) -> Path:
    """XY and SEEN in a file of that kind."""
    path, arrays = folder / f"tracks.{kind.split()[0]}", {"tracks": XY, "visibility": SEEN}
    if kind == "json":
        path.write_text(json.dumps(as_json()))
    elif kind == "json truth":
        path.write_text(json.dumps({"source": "a cat", "size": [64, 48], "tracks": as_json(), "answer_tracks": {}}))
    elif kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npz batch":
        np.savez(path, pred_tracks=XY[None], pred_visibility=SEEN[None, ..., None].astype(np.float32))
    elif kind == "pkl":
        path.write_bytes(pickle.dumps(arrays))
    elif kind == "pkl tapvid":
        points = ((XY + 0.5) / np.array([64, 48])).transpose(1, 0, 2)
        clip = {"video": np.zeros((3, 48, 64, 3), np.uint8), "points": points, "occluded": ~SEEN.T}
        path.write_bytes(pickle.dumps({"bear": clip}))
    else:
        torch = pytest.importorskip("torch")
        tensors = {name: torch.from_numpy(value)[None] for name, value in arrays.items()}
        torch.save(tensors if kind == "pt" else tuple(tensors.values()), path)
    return path


@pytest.mark.parametrize("kind", ["json", "json truth", "npz", "npz batch", "pkl", "pkl tapvid", "pt", "pt pair"])
def test_every_kind_of_file_says_the_same(kind: str, tmp_path: Path) -> None:
    found = read_tracks(written(tmp_path, kind))
    np.testing.assert_allclose(found.xy, XY, atol=1e-4)
    np.testing.assert_array_equal(found.visible, SEEN)
    assert found.names == (("nose", "tail") if "json" in kind else None)
    assert found.size == ((64, 48) if kind in ("json truth", "pkl tapvid") else None)


def test_what_our_own_tracks_save_is_read_from_folder_or_file(tmp_path: Path) -> None:
    confidence = np.full((3, 2), 0.25, np.float32)
    PointTracks(("nose", "tail"), XY, SEEN, confidence, (64, 48)).save(tmp_path)
    for path in (tmp_path, tmp_path / "arrays.safetensors"):
        found = read_tracks(path)
        assert found.names == ("nose", "tail")
        np.testing.assert_array_equal(found.xy, XY)
        np.testing.assert_array_equal(found.confidence, confidence)
        assert found.size == (64, 48)


def test_hidden_places_of_a_tap_file_are_filled_in(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    xy = np.array([[[3.0, 4.0]], [[-1.0, -1.0]], [[-1.0, -1.0]], [[9.0, 10.0]], [[-1.0, -1.0]]], np.float32)
    torch.save({"pred_tracks": torch.from_numpy(xy), "point_name2id": {"nose": 0}}, tmp_path / "TAP.pth")
    found = read_tracks(tmp_path / "TAP.pth")
    np.testing.assert_allclose(found.xy[:, 0], [[3, 4], [5, 6], [7, 8], [9, 10], [9, 10]], atol=1e-6)
    assert found.visible[:, 0].tolist() == [True, False, False, True, False]
    assert found.told is not None
    assert found.told[:, 0].tolist() == [True, False, False, True, False]


def test_places_before_the_first_and_after_the_last_stay() -> None:
    xy = np.arange(10, dtype=np.float32).reshape(5, 1, 2)
    told = np.array([[False], [True], [False], [True], [False]])
    assert fill_gaps(np.where(told[..., None], xy, np.nan), told)[:, 0, 0].tolist() == [2, 2, 4, 6, 6]


def test_null_in_json_is_hidden_and_visible_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"nose": {"xy": [[1, 2], null, [3, 4]]}}')
    found = read_tracks(tmp_path / "a.json")
    assert found.xy[:, 0].tolist() == [[1, 2], [2, 3], [3, 4]]
    assert found.visible[:, 0].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "expected"),
        ('{"a": {"xy": [[1, 2]]}, "a": {"xy": [[1, 2]]}}', "'a' stands there more than once"),
        ('{"a": {"xy": [[1, 2]]}, "b": {"xy": [[1, 2], [3, 4]]}}', "points of 1 to 2 frames"),
        ('{"a": {"xy": [[1, 2, 3]]}}', "point 'a': xy: expected a pair of numbers"),
        ('{"a": {"xy": [[1, NaN]]}}', "point 'a': xy: expected a pair of numbers"),
        ('{"a": {"xy": [null, null]}}', "point 'a' has no place in any frame"),
        ('{"a": {"xy": [[1, 2]], "visible": [1]}}', "point 'a': visible: expected true or false for each of 1 frames"),
        ('{"size": [1], "tracks": {"a": {"xy": [[1, 2]]}}}', "size: expected"),
    ],
)
def test_what_does_not_fit_in_json_is_told(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tracks(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"visibility": SEEN}, "expected arrays tracks .* the file has visibility"),
        ({"tracks": XY}, "expected visibility, the file has tracks"),
        ({"tracks": XY[..., :1], "visibility": SEEN}, r"tracks: expected 3 axes, got \[3, 2\]|expected \[T, N, 2\]"),
        ({"tracks": XY * np.nan, "visibility": SEEN}, "not finite"),
        ({"tracks": XY, "visibility": SEEN.T}, r"visibility: \[2, 3\] doesn't fit tracks \[3, 2, 2\]"),
        ({"tracks": XY, "visibility": SEEN, "names": np.array(["a"])}, "names: 1 for 2 points"),
        ({"tracks": XY.astype(str), "visibility": SEEN}, "tracks: expected numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_told(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_tracks(tmp_path / "a.npz")


class Surprise:
    def __reduce__(self) -> Any:
        return print, ("code was run",)


@pytest.mark.parametrize("kind", ["npz", "pkl", "pt"])
def test_code_in_a_file_is_refused_and_not_run(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(path, tracks=np.array([Surprise()], object), visibility=SEEN)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps({"tracks": Surprise(), "visibility": SEEN}))
    else:
        pytest.importorskip("torch").save({"tracks": Surprise()}, path)
    with pytest.raises(InputError, match=rf"a\.{kind}"):
        read_tracks(path)
    assert capsys.readouterr().out == ""


def test_one_of_several_tapvid_clips_must_be_named(tmp_path: Path) -> None:
    clip = {
        "video": np.zeros((3, 8, 8, 3), np.uint8),
        "points": np.zeros((1, 3, 2)),
        "occluded": np.zeros((1, 3), bool),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"bear": clip, "camel": clip}))
    assert read_tracks(tmp_path / "a.pkl", "camel").size == (8, 8)
    with pytest.raises(InputError, match=r"holds 2 clips \(bear, camel\); name one in the option clip"):
        read_tracks(tmp_path / "a.pkl")
    with pytest.raises(InputError, match="has no clip 'came'; did you mean 'camel'"):
        read_tracks(tmp_path / "a.pkl", "came")


def test_other_kinds_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(InputError, match=r"a\.csv: no known kind of tracks; known: .*\.npz"):
        read_tracks(tmp_path / "a.csv")
    with pytest.raises(InputError, match="not a folder of tracks"):
        read_tracks(tmp_path)
