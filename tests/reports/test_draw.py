"""Points drawn on a frame."""

import importlib.util

import numpy as np
import pytest

from vswap_kernel.encode import write_png
from vswap_kernel.errors import InputError
from vswap_kernel.pictures import read_image
from vswap_reports import draw
from vswap_reports.draw import draw_points, draw_points_file
from vswap_reports.labels import point_colours

GREY = np.full((120, 160, 3), 90, np.uint8)
FACTOR = 6


def at(picture: np.ndarray, x: float, y: float) -> tuple[int, ...]:
    return tuple(picture[round((y + 0.5) * FACTOR - 0.5), round((x + 0.5) * FACTOR - 0.5)].tolist())


def test_small_frames_are_enlarged_by_a_whole_factor_and_stay_as_they_are_elsewhere():
    picture = draw_points(GREY, [], np.zeros((0, 2), np.float32))
    assert picture.shape == (120 * FACTOR, 160 * FACTOR, 3)
    assert (picture == 90).all()


def test_a_disc_in_the_points_colour_lies_where_the_point_is():
    picture = draw_points(GREY, ["beak", "tail"], np.array([[20, 30], [100, 80]], np.float32))
    assert at(picture, 20, 30) == point_colours(2)[0]
    assert at(picture, 100, 80) == point_colours(2)[1]


def test_hidden_points_are_rings():
    picture = draw_points(GREY, ["beak"], np.array([[20, 30]], np.float32), np.array([False]))
    assert at(picture, 20, 30) == (90, 90, 90)
    assert tuple(picture[round(30.5 * FACTOR - 0.5), round(20.5 * FACTOR - 0.5) + 5].tolist()) == point_colours(1)[0]


@pytest.mark.parametrize("place", [(0, 0), (159, 119), (-0.4, 119.4), (-30, 50), (400, 400)])
def test_points_at_the_edge_and_beyond_are_no_error(place):
    assert draw_points(GREY, ["x"], np.array([place], np.float32)).shape[2] == 3


def test_the_frame_given_is_not_drawn_on():
    frame = np.full((600, 960, 3), 90, np.uint8)
    draw_points(frame, ["beak"], np.array([[20, 30]], np.float32))
    assert (frame == 90).all()


def test_without_opencv_there_are_discs_and_no_letters(monkeypatch):
    with_names = draw_points(GREY, ["beak"], np.array([[80, 60]], np.float32))
    monkeypatch.setattr(draw, "find_spec", lambda name: None)
    without = draw_points(GREY, ["beak"], np.array([[80, 60]], np.float32))
    assert at(without, 80, 60) == point_colours(1)[0]
    assert (without != 90).any(axis=2).sum() < 300
    if importlib.util.find_spec("cv2"):
        assert (with_names != 90).any(axis=2).sum() > 400


def test_a_points_file_is_drawn_on_its_keyframe(tmp_path):
    (tmp_path / "clip").mkdir()
    for index in range(3):
        write_png(tmp_path / "clip" / f"{index}.png", np.full((120, 160, 3), 40 * index, np.uint8))
    (tmp_path / "points.json").write_text('{"frame": 2, "size": [80, 60], "points": {"beak": [40, 20]}}')
    draw_points_file(tmp_path / "points.json", tmp_path / "clip", tmp_path / "points.png")
    picture = read_image(tmp_path / "points.png")[..., :3]
    assert tuple(picture[-1, -1].tolist()) == (80, 80, 80)
    assert at(picture, 80.5, 40.5) == point_colours(1)[0]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "clip").mkdir()
    write_png(tmp_path / "clip" / "0.png", GREY)
    (tmp_path / "points.json").write_text('{"points": {"beak": [40, 20]}}')
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        draw_points_file(tmp_path / "points.json", tmp_path / "clip", tmp_path / "file" / "points.png")
