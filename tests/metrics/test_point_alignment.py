"""The metric `point-alignment`, with trackers whose answer is known."""

import math

import numpy as np
import pytest

from vswap_kernel.api import Context, Facts, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import Masks, Measurement, PointQueries, PointTracks, SwapResult, Video
from vswap_metrics.point_alignment import PointAlignment, preflight

FRAMES, SIZE = 5, (64, 48)


class KnownTracker:
    """Answers with the tracks it was given, and remembers what it was asked."""

    def __init__(self, tracks: PointTracks) -> None:
        self.tracks, self.queries = tracks, None

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        self.queries = queries
        return self.tracks.subset(queries.names)


def tracks_of(xy: np.ndarray, visible: np.ndarray | None = None) -> PointTracks:
    visible = np.ones(xy.shape[:2], bool) if visible is None else visible
    names = tuple("abcdef"[: xy.shape[1]])
    return PointTracks(names, xy.astype(np.float32), visible, visible.astype(np.float32), SIZE)


def wandering() -> np.ndarray:
    time = np.arange(FRAMES)[:, None, None]
    return np.array([[10.0, 20.0], [30.0, 25.0], [40.0, 12.0]]) + time * np.array([1.5, 0.5])


def measure(targets: PointTracks, tracker: KnownTracker, tmp_path) -> Measurement:
    video = Video(np.zeros((FRAMES, SIZE[1], SIZE[0], 3), np.uint8), 25.0)
    masks = Masks(np.zeros((FRAMES, SIZE[1], SIZE[0]), np.uint8))
    case = MetricCase(video, SwapResult(video, masks), None, targets, tracker)
    return PointAlignment(NoOptions(), Context(tmp_path)).measure(case)


def test_points_found_where_they_were_asked_to_be_have_no_error(tmp_path):
    targets = tracks_of(wandering())
    found = measure(targets, KnownTracker(targets), tmp_path)
    assert found.values == {"point_error_px": 0.0, "point_error_p95_px": 0.0, "point_visible": 1.0}


def test_a_shifted_track_gives_exactly_the_shift(tmp_path):
    tracker = KnownTracker(tracks_of(wandering() + np.array([3.0, -4.0])))
    found = measure(tracks_of(wandering()), tracker, tmp_path)
    assert found.values["point_error_px"] == pytest.approx(5.0)
    assert found.values["point_error_p95_px"] == pytest.approx(5.0)


def test_the_tracker_is_asked_at_the_targets_of_the_frame_in_which_most_are_visible(tmp_path):
    visible = np.ones((FRAMES, 3), bool)
    visible[0, :2] = visible[1, 1] = False
    targets = tracks_of(wandering(), visible)
    tracker = KnownTracker(targets)
    measure(targets, tracker, tmp_path)
    assert tracker.queries.frame.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(tracker.queries.xy, targets.xy[2])


def test_a_point_hidden_on_that_frame_is_asked_on_the_first_frame_that_shows_it(tmp_path):
    visible = np.ones((FRAMES, 3), bool)
    visible[:4, 2] = False
    visible[4, :] = [False, False, True]
    tracker = KnownTracker(tracks_of(wandering()))
    measure(tracks_of(wandering(), visible), tracker, tmp_path)
    assert tracker.queries.frame.tolist() == [0, 0, 4]


def test_places_that_nobody_asked_for_do_not_count(tmp_path):
    visible = np.ones((FRAMES, 3), bool)
    visible[3] = False
    found_at = wandering()
    found_at[3] += 100.0
    found = measure(tracks_of(wandering(), visible), KnownTracker(tracks_of(found_at)), tmp_path)
    assert found.values["point_error_px"] == 0
    assert np.isnan(found.series["point_error_px"]).tolist() == [True, False, False, True, False]
    assert np.isnan(found.series["point_visible"]).tolist() == [True, False, False, True, False]


def test_points_that_the_tracker_lost_lower_the_share_and_not_the_error(tmp_path):
    visible = np.ones((FRAMES, 3), bool)
    visible[1:, 0] = False
    lost = tracks_of(wandering() + np.array([0.0, 2.0]), visible)
    found = measure(tracks_of(wandering()), KnownTracker(lost), tmp_path)
    assert found.values["point_visible"] == pytest.approx(2 / 3)
    assert found.values["point_error_px"] == pytest.approx(2.0)


def test_targets_outside_the_frame_are_not_asked_for(tmp_path):
    xy = wandering()
    xy[:, 0] = (70.0, 20.0)
    targets = tracks_of(xy)
    tracker = KnownTracker(targets)
    assert measure(targets, tracker, tmp_path).values["point_visible"] == 1.0
    assert tracker.queries.names == ("b", "c")


@pytest.mark.parametrize("points", [0, 2])
def test_no_points_or_none_ever_visible_is_undefined_and_needs_no_tracker(tmp_path, points):
    targets = tracks_of(wandering()[:, :points], np.zeros((FRAMES, points), bool))
    tracker = KnownTracker(targets)
    found = measure(targets, tracker, tmp_path)
    assert all(math.isnan(value) for value in found.values.values())
    assert all(np.isnan(curve).all() and len(curve) == FRAMES for curve in found.series.values())
    assert tracker.queries is None


def test_a_point_seen_on_one_frame_alone_has_no_error_to_report(tmp_path):
    visible = np.zeros((FRAMES, 1), bool)
    visible[2] = True
    targets = tracks_of(wandering()[:, :1], visible)
    found = measure(targets, KnownTracker(targets), tmp_path)
    assert math.isnan(found.values["point_error_px"])
    assert math.isnan(found.values["point_visible"])


def test_targets_are_left_as_they_were(tmp_path):
    targets = tracks_of(wandering())
    before = targets.digest()
    measure(targets, KnownTracker(targets), tmp_path)
    assert targets.digest() == before


def test_a_tracker_that_does_not_look_at_the_result_is_refused_before_anything_runs() -> None:
    facts = Facts(FRAMES, SIZE, ("a",), described={"tracker": {"looks_at_frames": False}})
    with pytest.raises(InputError, match="leave the metric out, or choose another tracker"):
        preflight(NoOptions(), facts)
    preflight(NoOptions(), Facts(FRAMES, SIZE, ("a",)))
