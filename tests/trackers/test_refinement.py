"""Places aligned to their keyframes, to a fraction of a pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.refinement import refined

FRAMES, SIZE = 6, (128, 96)
START = np.array([[40.0, 30.0], [70.0, 40.0], [50.0, 60.0], [80.0, 65.0]], np.float32)


def turned(t: int) -> np.ndarray:
    """The subject turns by 8 degrees and grows by 4 % a frame, 40 degrees in all."""
    return cv2.getRotationMatrix2D((60.0, 48.0), 8.0 * t, 1.04**t)


def video() -> Video:
    noise = np.random.default_rng(0).uniform(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.float32)
    texture = np.clip((cv2.GaussianBlur(noise, (0, 0), 2.0) - 127) * 5 + 127, 0, 255)
    warped = [cv2.warpAffine(texture, turned(t), SIZE, flags=cv2.INTER_CUBIC) for t in range(FRAMES)]
    return Video(np.clip(np.stack(warped), 0, 255).astype(np.uint8), 12.0)


def truth() -> np.ndarray:
    return np.stack([START @ turned(t)[:, :2].T + turned(t)[:, 2] for t in range(FRAMES)]).astype(np.float32)


QUERIES = PointQueries(tuple("abcd"), np.zeros(4, np.int32), START)


def tracks(xy: np.ndarray) -> PointTracks:
    seen = np.ones(xy.shape[:2], bool)
    return PointTracks(QUERIES.names, xy.astype(np.float32), seen, seen.astype(np.float32), SIZE)


def near_the_truth() -> np.ndarray:
    xy = truth() + np.random.default_rng(1).uniform(-0.9, 0.9, truth().shape)
    xy[0] = START
    return xy.astype(np.float32)


def test_places_a_pixel_off_are_put_right_though_the_subject_turned_by_forty_degrees() -> None:
    before, after = near_the_truth(), refined(video(), QUERIES, tracks(near_the_truth()))
    errors = [np.linalg.norm(xy - truth(), axis=-1)[1:].mean() for xy in (before, after)]
    assert errors[1] < 0.25 < 0.5 < errors[0]


def test_a_place_where_something_else_is_stays_as_it_was() -> None:
    xy = near_the_truth()
    xy[3, 1] = (20.0, 80.0)
    np.testing.assert_array_equal(refined(video(), QUERIES, tracks(xy))[3, 1], xy[3, 1])


def test_hidden_places_and_keyframes_stay_as_they_were() -> None:
    given = tracks(near_the_truth())
    hidden = given.visible.copy()
    hidden[2, 0] = False
    found = refined(video(), QUERIES, replace(given, visible=hidden))
    np.testing.assert_array_equal(found[2, 0], given.xy[2, 0])
    np.testing.assert_array_equal(found[0], START)
    assert (found[2, 1:] != given.xy[2, 1:]).any()
