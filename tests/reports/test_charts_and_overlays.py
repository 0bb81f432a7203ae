"""What is drawn in the report, on cases worked out by hand."""

import numpy as np
import pytest

from vswap_reports.charts import HEIGHT, WIDTH, line_chart, nice_ticks, number
from vswap_reports.details import portable
from vswap_reports.labels import place_labels, point_colours
from vswap_reports.overlays import mask_outline


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 100, [0, 50, 100]), (0.12, 0.31, [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]), (-3, 7, [-5, 0, 5, 10])],
)
def test_ticks_are_round_numbers_that_span_the_data(low, high, expected):
    assert nice_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 100.0, -2.5, 1e-9])
def test_a_constant_curve_gets_room_around_it(value):
    ticks = nice_ticks(value, value)
    assert ticks[0] < value < ticks[-1]


def test_a_line_runs_from_corner_to_corner_of_its_box():
    chart = line_chart("x", np.array([0, 50, 100], np.float32))
    left, top, right, bottom = chart.box
    assert chart.lines == (
        f"M{left:.1f} {bottom:.1f}L{(left + right) / 2:.1f} {(top + bottom) / 2:.1f}L{right:.1f} {top:.1f}",
    )
    assert right < WIDTH
    assert bottom < HEIGHT


def test_a_chart_of_nothing_is_empty_and_says_so():
    chart = line_chart("x", np.full(4, np.nan, np.float32))
    assert (chart.lines, chart.dots, chart.ticks_y) == ((), (), ())
    assert chart.summary == "x: undefined in every frame"


def test_a_clip_of_one_frame_is_a_dot():
    chart = line_chart("x", np.array([3], np.float32))
    assert len(chart.dots) == 1
    assert [label for _, label in chart.ticks_x] == ["0"]


@pytest.mark.parametrize(
    ("value", "text"), [(float("nan"), "-"), (float("inf"), "-"), (0.0, "0"), (38.12345, "38.12"), (100.0, "100")]
)
def test_numbers_have_at_most_four_digits(value, text):
    assert number(value) == text


def test_the_outline_of_a_box_is_its_four_sides():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:7] = True
    assert sorted(mask_outline(mask).split("M")[1:]) == sorted(["3 2v2", "7 2v2", "3 2h4", "3 4h4"])


def test_a_mask_up_to_the_border_is_outlined_along_the_border():
    assert sorted(mask_outline(np.ones((2, 3), bool)).split("M")[1:]) == sorted(["0 0v2", "3 0v2", "0 0h3", "0 2h3"])
    assert mask_outline(np.zeros((2, 3), bool)) == ""


def test_labels_of_points_side_by_side_hide_neither_points_nor_each_other():
    xy = np.array([[50, 50], [62, 50], [50, 62], [95, 5]], np.float32)
    widths, height = [30.0, 30.0, 30.0, 20.0], 10.0
    corners = place_labels(xy, widths, height, (100, 100), 7.0)
    boxes = [(x, y, x + width, y + height) for (x, y), width in zip(corners, widths, strict=True)]
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= 100
        assert bottom <= 100
        assert not any(left < x < right and top < y < bottom for x, y in xy.tolist())
        for other in boxes[index + 1 :]:
            assert left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom


def test_colours_are_distinct_and_do_not_change_when_points_are_added():
    assert len(set(point_colours(24))) == 24
    assert point_colours(24)[:5] == point_colours(5)


def test_absolute_paths_are_cut_to_their_last_part_and_nothing_else_is_touched():
    config = {"path": "/home/me/clip.mp4", "list": ["C:\\clips\\a.mp4", "rel/b.mp4"], "prompt": "a and/or b", "n": 3}
    expected = {"path": "…/clip.mp4", "list": ["…/a.mp4", "rel/b.mp4"], "prompt": "a and/or b", "n": 3}
    assert portable(config) == expected
