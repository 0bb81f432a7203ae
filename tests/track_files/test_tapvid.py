from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_kernel.errors import InputError
from vswap_track_files.safe_pickle import read_pickle
from vswap_track_files.tapvid import read_tapvid

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def written(folder: Path, value: Any, protocol: int = 4) -> Path:
    path = folder / "clips.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def clip(frames: int = 4, points: int = 3, height: int = 6, width: int = 8) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "video": rng.integers(0, 255, (frames, height, width, 3), np.uint8),
        "points": rng.random((points, frames, 2)).astype(np.float32),
        "occluded": rng.random((points, frames)) < 0.5,
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_numpy_writes_is_read_back(protocol: int, tmp_path: Path):
    arrays = {
        "float": np.linspace(0, 1, 6, dtype=np.float64).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        "big": np.arange(4, dtype=">i2"),
        "bool": np.array([True, False]),
        "none": np.zeros((0, 2), np.float32),
        "text": np.array(["ab", "c"]),
        "bytes": np.array([b"ab", b"c"]),
    }
    value = [OrderedDict(arrays), (1, 2.5, "x", b"\xff", None, True), np.float32(0.25), {3}]
    back = read_pickle(written(tmp_path, value, protocol))
    assert back[1:] == value[1:]
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[0][name], array)
        assert back[0][name].dtype == array.dtype


class Harmful:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.what = (call, arguments)

    def __reduce__(self) -> Any:
        return self.what


def touched(path: Path) -> Harmful:
    return Harmful(exec, f"open({str(path)!r}, 'w')")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_in_the_file_is_run(protocol: int, tmp_path: Path):
    for value in (touched(tmp_path / "ran"), [clip(), touched(tmp_path / "ran")]):
        with pytest.raises(InputError, match=r"clips\.pkl.*exec"):
            read_pickle(written(tmp_path, value, protocol))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([{}], object), "type 'O"),
        (np.zeros(2, [("a", "f4")]), "type 'V"),
        (np.array(["2020-01-01"], "M8[D]"), "type 'M"),
        (Path("x"), "Path"),
        (np.load, "numpy"),
        (Harmful(bytearray, 10), "bytearray"),
    ],
)
def test_anything_but_plain_arrays_is_refused_by_name(value: Any, reason: str, tmp_path: Path):
    with pytest.raises(InputError, match=reason):
        read_pickle(written(tmp_path, value))


def test_what_is_known_can_not_be_changed_for_later_files(tmp_path: Path):
    changing = b"c_codecs\nencode\n(N}X\x0c\x00\x00\x00__defaults__(K\x01tstb."
    (tmp_path / "clips.pkl").write_bytes(changing)
    with pytest.raises(InputError, match="changes a function"):
        read_pickle(tmp_path / "clips.pkl")


def test_an_array_that_lies_about_its_size_is_refused(tmp_path: Path):
    _, arguments, state = np.zeros(3, np.float32).__reduce__()
    version, _, dtype, order, data = state
    rebuild = np.zeros(3, np.float32).__reduce__()[0]

    class Lying:
        def __reduce__(self) -> Any:
            return rebuild, arguments, (version, (3000,), dtype, order, data)

    with pytest.raises(InputError, match="size"):
        read_pickle(written(tmp_path, Lying()))


def test_a_small_file_that_would_unfold_into_a_huge_one_is_walked_through_once(tmp_path: Path):
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    assert len(read_pickle(written(tmp_path, value))) == 2


def test_a_list_within_itself_is_refused(tmp_path: Path):
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InputError, match="itself"):
        read_pickle(written(tmp_path, value))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(clip())[:-40]])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path):
    (tmp_path / "clips.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"clips\.pkl"):
        read_pickle(tmp_path / "clips.pkl")


def test_clips_by_name_have_pixels_with_centres_at_integers(tmp_path: Path):
    data = clip()
    data["points"][0, 0] = (0.5 / 8, 0.5 / 6)  # the middle of the first pixel
    data["points"][1, 0] = (1.0, 1.0)  # the outer corner of the last one
    (found,) = read_tapvid(written(tmp_path, {"goat": data}))
    assert found.name == "goat"
    assert found.size == (8, 6)
    np.testing.assert_allclose(found.xy[0, :2], [[0, 0], [7.5, 5.5]], atol=1e-6)
    np.testing.assert_array_equal(found.visible, ~data["occluded"].T)
    np.testing.assert_array_equal(np.concatenate(list(found.frames(3))), data["video"])


@pytest.mark.parametrize("kind", ["list", "array"])
def test_a_list_of_clips_with_frames_as_jpeg(kind: str, tmp_path: Path):
    cv2 = pytest.importorskip("cv2")
    smooth = np.full((4, 48, 64, 3), (200, 80, 20), np.uint8)
    pictures = [cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in smooth]
    data = clip() | {"video": pictures if kind == "list" else np.array(pictures)}
    first, second = read_tapvid(written(tmp_path, [data, clip()]))
    assert (first.name, second.name) == ("00000", "00001")
    assert first.size == (64, 48)
    frames = np.concatenate(list(first.frames()))
    assert frames.shape == smooth.shape
    assert np.abs(frames.astype(int) - smooth).max() < 4


def test_a_hidden_point_may_be_nowhere(tmp_path: Path):
    data = clip()
    data["points"][0, 1], data["occluded"][0, 1] = np.nan, True
    (found,) = read_tapvid(written(tmp_path, [data]))
    assert np.isfinite(found.xy).all()
    data["occluded"][0, 1] = False
    with pytest.raises(InputError, match=r"points.*finite"):
        read_tapvid(written(tmp_path, [data]))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"points": np.zeros((3, 5, 2))}, "points"),
        ({"occluded": np.zeros((4, 3))}, "occluded"),
        ({"video": np.zeros((4, 6, 8, 3), np.float32)}, "video"),
        ({"video": []}, "video"),
        ({"video": [b"no picture"] * 4}, "frame 0"),
    ],
)
def test_a_wrong_field_is_named_with_its_clip(change: dict[str, Any], field: str, tmp_path: Path):
    if "frame" in field:
        pytest.importorskip("cv2")
    with pytest.raises(InputError, match=rf"clips\.pkl.*'goat'.*{field}"):
        read_tapvid(written(tmp_path, {"goat": clip() | change}))


@pytest.mark.parametrize("value", [7, {}, {"goat": clip()["video"]}, {"goat": {"video": 1}}])
def test_another_kind_of_pickle_is_told_what_is_expected(value: Any, tmp_path: Path):
    with pytest.raises(InputError, match=r"clips\.pkl"):
        read_tapvid(written(tmp_path, value))
