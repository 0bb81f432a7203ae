"""The contact sheet of drags."""

import dataclasses
import json

import numpy as np
import pytest

from vswap_reports.drags import arrow_paths, with_keyframes
from vswap_reports.labels import place_labels

from .test_page import HOSTILE, Tags, make_run, tracks_of, write


def dragged_run(folder, edit, names=("beak", "tail"), shift=(12.0, -9.0)):
    """A run whose config has `edit`, and whose first point is moved by `shift` in every frame."""
    tracks = tracks_of(names)
    targets = dataclasses.replace(tracks, xy=tracks.xy + np.float32([shift, *[(0, 0)] * (len(names) - 1)]))
    targets.visible[2, 0] = False
    run = make_run(folder, names=names, extra={"tracks": tracks, "targets": targets})
    with (folder / "config.yaml").open("a") as file:
        file.write(json.dumps({"edit": edit})[1:-1] + "\n")
    return run


def drags_section(page):
    return page[page.index("<h2>Drags</h2>") : page.index("<h2>Frames</h2>")]


def test_a_run_that_moves_nothing_has_neither_section(tmp_path):
    for name, edit in (("none", {}), ("drop", {"drop": ["tail"]})):
        page = write(dragged_run(tmp_path / name, edit))
        assert "<h2>Drags</h2>" not in page
        assert "<h2>Canonical space</h2>" not in page


def test_each_moved_point_has_an_arrow_in_each_of_eight_frames_with_the_keyframes_outlined(tmp_path):
    move = {"beak": [22, 3]}
    run = dragged_run(tmp_path / "run", {"frame": 0, "move": move, "also": [{"frame": 2, "move": move}]})
    section = drags_section(write(run))
    found = Tags(section)
    outlined = [index for index, a in enumerate(a for tag, a in found.tags if tag == "figure") if a.get("class")]
    captions = [text for text in found.text if text.startswith("frame ")]
    assert len(captions) == 8
    assert [captions[index] for index in outlined] == ["frame 0, keyframe of beak", "frame 2, keyframe of beak"]
    assert len(found.with_class("arrow")) == 6
    assert len(found.with_class("arrow unsure")) == 2  # frame 2, by the field; frame 9, where the point is hidden
    assert len(found.with_class("hidden")) == 2
    assert found.text.count("beak") >= 8
    assert "tail" not in found.text


def test_an_arrow_starts_at_the_tracked_place_and_points_at_the_target(tmp_path):
    section = drags_section(write(dragged_run(tmp_path / "run", {"move": {"beak": [22, 3]}})))
    start = next(a for tag, a in Tags(section).tags if tag == "circle" and a.get("r") == "2")
    target = Tags(section).with_class("seen")[0]
    assert (float(start["cx"]), float(start["cy"])) == (10.5 * 5, 12.5 * 5)  # frames of 64 pixels, drawn 320 wide
    assert (float(target["cx"]), float(target["cy"])) == (22.5 * 5, 3.5 * 5)


def test_arrows_end_at_the_rim_of_the_target_and_short_ones_have_no_head():
    start = np.array([[10, 10], [10, 10], [5, 5]], np.float32)
    end = np.array([[40, 10], [15, 10], [5, 5]], np.float32)
    long, short, none = arrow_paths(start, end)
    assert long == ("M10.0 10.0L28.0 10.0", "M36.0 10.0L28.0 13.2L28.0 6.8Z", ("10.0", "10.0"))
    assert short == ("M10.0 10.0L15.0 10.0", "", ("10.0", "10.0"))
    assert none == ("M5.0 5.0L5.0 5.0", "", ("5.0", "5.0"))


@pytest.mark.parametrize(
    ("spread", "keyframes", "expected"),
    [
        ([0, 11, 23, 34], [0, 23], [0, 11, 23, 34]),
        ([0, 11, 23, 34], [0, 20], [0, 11, 20, 34]),
        ([0, 11, 23, 34], [12, 10], [10, 12, 23, 34]),
        ([0, 5], [1, 2, 3], [1, 2, 3]),
    ],
)
def test_keyframes_take_the_place_of_the_nearest_frames(spread, keyframes, expected):
    assert with_keyframes(spread, dict.fromkeys(keyframes)) == expected


def test_labels_keep_off_the_shafts():
    target, shaft = np.array([[50, 50]], np.float32), np.array([[60, 50], [70, 50]], np.float32)
    (free,), (kept,) = (place_labels(target, [30.0], 10.0, (100, 100), 7.0, clear) for clear in (None, shaft))
    assert free[0] > 50
    assert kept[0] + 30 < 50


def test_names_in_the_section_are_text_and_nothing_else(tmp_path):
    section = drags_section(write(dragged_run(tmp_path / "run", {"move": {HOSTILE: [22, 3]}}, (HOSTILE, "tail"))))
    assert "<script" not in section
    assert HOSTILE in Tags(section).text
