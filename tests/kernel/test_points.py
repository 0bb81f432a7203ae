from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vswap_kernel.errors import InputError
from vswap_kernel.points import PointsFile, check_points, read_points, write_points


def written(tmp_path: Path, data: object) -> Path:
    path = tmp_path / "points.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    file = PointsFile(tmp_path / "p.json", ("a", "b"), np.array([[1.5, 2], [3, 4]], np.float32), 3, (20, 10))
    write_points(file)
    again = read_points(file.path)
    assert (again.names, again.frame, again.size) == (("a", "b"), 3, (20, 10))
    np.testing.assert_array_equal(again.xy, file.xy)


def test_points_set_on_another_size_are_scaled_about_pixel_centres(tmp_path: Path) -> None:
    file = read_points(written(tmp_path, {"size": [20, 10], "points": {"corner": [-0.5, -0.5], "end": [19.5, 9.5]}}))
    np.testing.assert_allclose(check_points(file, (40, 30), 1).xy, [[-0.5, -0.5], [39.5, 29.5]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("not json", "not a points file"),
        ('{"points": {"a": [1, 2], "a": [3, 4]}}', "'a' stands there more than once"),
        ({"points": {}}, "at least one point"),
        ({"points": [[1, 2]]}, "expected an object of name"),
        ({"points": {"a": [1]}}, r"point 'a': expected \[x, y\]"),
        ({"points": {"a": [1, "2"]}}, r"point 'a': expected \[x, y\]"),
        ('{"points": {"a": [1, NaN]}}', r"point 'a': expected \[x, y\]"),
        ({"frame": -1, "points": {"a": [1, 2]}}, 'field "frame"'),
        ({"frame": "first", "points": {"a": [1, 2]}}, 'field "frame"'),
        ({"size": [20], "points": {"a": [1, 2]}}, 'field "size"'),
        ({"frame": True, "points": {"a": [1, 2]}}, 'field "frame"'),
        ({"keyframe": 3, "points": {"a": [1, 2]}}, "unknown field 'keyframe'; did you mean 'frame'"),
        ({"points": {"a": [1e39, 2]}}, r"point 'a': expected \[x, y\]"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_points(written(tmp_path, data))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such points file"):
        read_points(tmp_path / "absent.json")


def test_a_point_outside_is_named_with_its_place(tmp_path: Path) -> None:
    file = read_points(written(tmp_path, {"points": {"in": [5, 5], "out": [50, 30]}}))
    with pytest.raises(InputError, match=r"point 'out' at \(50\.0, 30\.0\) is outside the 40x20 frame; move it"):
        check_points(file, (40, 20), 1)


def test_y_before_x_is_recognised(tmp_path: Path) -> None:
    file = read_points(written(tmp_path, {"points": {"a": [5, 35], "b": [10, 12]}}))
    with pytest.raises(InputError, match=r"look like \(y, x\)"):
        check_points(file, (40, 20), 1)


def test_only_a_points_file_is_written_over(tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"\0\0\0 ftypisom")
    with pytest.raises(InputError, match="isn't a points file"):
        write_points(PointsFile(video, ("a",), np.zeros((1, 2), np.float32)))
    assert video.read_bytes() == b"\0\0\0 ftypisom"


def test_what_is_no_number_is_outside(tmp_path: Path) -> None:
    file = PointsFile(tmp_path / "p.json", ("a",), np.array([[np.nan, 3]], np.float32), 0)
    with pytest.raises(InputError, match="outside"):
        check_points(file, (40, 20), 1)


def test_a_keyframe_beyond_the_end(tmp_path: Path) -> None:
    file = read_points(written(tmp_path, {"frame": 8, "points": {"a": [5, 5]}}))
    with pytest.raises(InputError, match="8 is beyond the end, the video has 8 frames, 0 to 7"):
        check_points(file, (40, 20), 8)
