"""Coloured discs on a grey ground, all carried by one motion: what a tracker may say of them, and what is believed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from vswap_kernel.types import FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.options_models import PlausibleOptions
from vswap_trackers.plausibility import plausible

COLOURS = ((230, 40, 40), (40, 220, 60), (50, 70, 240), (230, 220, 40), (220, 60, 220))
LAYOUT = np.array([[0, 0], [60, 10], [20, 70], [80, 60], [40, 35]], np.float32)
SIZE, FRAMES, STEP = (320, 240), 10, np.array([12.0, 3.0], np.float32)
ON = PlausibleOptions()


def scene(start: tuple[float, float]) -> tuple[Video, PointQueries, PointTracks]:
    """The discs from `start` on, by STEP a frame, asked for in frame 0, and where they truly are."""
    xy = (np.float32(start) + LAYOUT + np.arange(FRAMES)[:, None, None] * STEP).astype(np.float32)
    frames = np.full((FRAMES, SIZE[1], SIZE[0], 3), 90, np.uint8)
    for frame, places in zip(frames, xy, strict=True):
        for (x, y), colour in zip(places, COLOURS, strict=True):
            cv2.circle(frame, (round(float(x)), round(float(y))), 9, colour, -1)
    names = tuple("abcde")
    visible = ((xy >= -0.5) & (xy <= np.array(SIZE) - 0.5)).all(-1)
    tracks = PointTracks(names, xy, visible, visible.astype(np.float32), SIZE)
    return Video(frames, 24.0), PointQueries(names, np.zeros(5, np.int32), xy[0]), tracks


def told(truth: PointTracks, xy: FloatArray, *points: int) -> PointTracks:
    """The truth with other places [T, N, 2], at which `points` are told to be visible."""
    visible = truth.visible.copy()
    visible[:, list(points)] = True
    return PointTracks(truth.names, xy, visible, truth.confidence, truth.size)


def test_true_tracks_stay_as_they_are() -> None:
    video, queries, truth = scene((40, 60))
    judged = plausible(ON, video, queries, truth)
    np.testing.assert_array_equal(judged.visible, truth.visible)
    np.testing.assert_array_equal(judged.xy, truth.xy)


def test_nothing_is_judged_where_that_is_off() -> None:
    video, queries, truth = scene((40, 60))
    assert plausible(PlausibleOptions(plausible=False), video, queries, truth) is truth


def test_a_point_stuck_at_the_border_is_hidden_once_its_fellows_have_carried_it_out() -> None:
    video, queries, truth = scene((170, 60))
    xy = truth.xy.copy()
    xy[:, 3, 0] = np.minimum(xy[:, 3, 0], SIZE[0] - 3)
    judged = plausible(ON, video, queries, told(truth, xy, 3))
    assert not truth.visible[7:, 3].any()
    assert not judged.visible[7:, 3].any()
    np.testing.assert_array_equal(judged.visible[:, [0, 2]], truth.visible[:, [0, 2]])


def test_a_point_left_on_the_ground_is_hidden_or_put_back_where_it_looks_like_itself() -> None:
    video, queries, truth = scene((40, 60))
    xy = truth.xy.copy()
    xy[3:, 1] = xy[2, 1]
    judged = plausible(ON, video, queries, told(truth, xy))
    late = judged.visible[6:, 1]
    assert late.all()  # its disc is there to be seen, where the others have it
    np.testing.assert_allclose(judged.xy[6:, 1], truth.xy[6:, 1], atol=1.5)


def test_of_two_points_in_one_place_the_one_that_belongs_there_stays() -> None:
    video, queries, truth = scene((40, 60))
    hidden = video.frames.copy()
    for frame, (x, y) in zip(hidden[1:], truth.xy[1:, 1], strict=True):
        cv2.circle(frame, (round(float(x)), round(float(y))), 11, (90, 90, 90), -1)
    xy = truth.xy.copy()
    xy[1:, 1] = truth.xy[1:, 4] + 1
    judged = plausible(ON, Video(hidden, 24.0), queries, told(truth, xy))
    assert not judged.visible[1:, 1].any()
    assert judged.visible[:, 4].all()


def test_a_limb_may_swing_as_long_as_it_looks_like_itself() -> None:
    video, queries, truth = scene((40, 60))
    xy, frames = truth.xy.copy(), video.frames.copy()
    for t in range(FRAMES):
        cv2.circle(frames[t], tuple(round(float(x)) for x in xy[t, 2]), 11, (90, 90, 90), -1)
        xy[t, 2] += (-4.0 * t, 2.0 * t)
        cv2.circle(frames[t], tuple(round(float(x)) for x in xy[t, 2]), 9, COLOURS[2], -1)
    judged = plausible(ON, Video(frames, 24.0), queries, told(truth, xy))
    assert judged.visible[:, 2].all()
    np.testing.assert_array_equal(judged.xy[:, 2], xy[:, 2])


def test_earlier_frames_than_the_keyframe_are_judged_on_the_way_back() -> None:
    video, queries, truth = scene((170, 60))
    backwards = Video(video.frames[::-1].copy(), 24.0)
    last = np.full(5, FRAMES - 1, np.int32)
    mirrored = PointTracks(truth.names, truth.xy[::-1], truth.visible[::-1], truth.confidence[::-1], SIZE)
    xy = mirrored.xy.copy()
    xy[:, 3, 0] = np.minimum(xy[:, 3, 0], SIZE[0] - 3)
    asked = PointQueries(queries.names, last, mirrored.xy[-1])
    judged = plausible(ON, backwards, asked, told(mirrored, xy, 3))
    assert not judged.visible[:3, 3].any()
    assert judged.visible[:, 0].all()
