from __future__ import annotations

import numpy as np
import pytest

from vswap_kernel.types import PointTracks
from vswap_trackers.evaluation.metrics import THRESHOLDS, evaluated_frames, pck_figures, rounded, tapvid_figures
from vswap_trackers.evaluation.truth import Truth, ask, judge

WHOLE = (256, 256)


def case() -> tuple[np.ndarray, ...]:
    """Two points in four frames, asked for in frames 0 and 1, with errors that the test below works out by hand."""
    truth = np.full((4, 2, 2), 100, np.float32)
    seen = np.array([[1, 1], [1, 1], [0, 1], [1, 1]], bool)
    error = np.array([[0, 0], [3, 0], [0, 20], [0, 1.5]], np.float32)
    found = truth + np.stack([error, np.zeros_like(error)], axis=2)
    told = np.array([[1, 1], [1, 1], [1, 1], [0, 1]], bool)
    return truth, seen, found, told


def test_figures_worked_out_by_hand_in_mode_first():
    truth, seen, found, told = case()
    figures = tapvid_figures(truth, seen, found, told, evaluated_frames(np.array([0, 1], np.int32), 4, "first"), WHOLE)
    # counted: the first point's frames 1, 2, 3 and the second's 2, 3; visible of these are 4, at errors 3, 0, 20, 1.5
    assert [figures[f"delta@{t}"] for t in THRESHOLDS] == [1 / 4, 2 / 4, 3 / 4, 3 / 4, 3 / 4]
    assert figures["delta_avg"] == pytest.approx(0.6)
    # visibility is told rightly but for the first point's frames 2 (hidden) and 3 (visible)
    assert figures["oa"] == 3 / 5
    # told visible: errors 3, 20, 1.5 and the hidden one. Within 2: one hit, three false alarms, four positives
    assert [figures[f"jaccard@{t}"] for t in THRESHOLDS] == [0, 1 / 7, 2 / 6, 2 / 6, 2 / 6]
    assert figures["aj"] == pytest.approx((1 / 7 + 1) / 5)


def test_figures_worked_out_by_hand_in_mode_strided():
    truth, seen, found, told = case()
    counted = evaluated_frames(np.array([2, 3], np.int32), 4, "strided")
    np.testing.assert_array_equal(counted, [[1, 1], [1, 1], [0, 1], [1, 0]])
    figures = tapvid_figures(truth, seen, found, told, counted, WHOLE)
    # the first point's errors 0, 3, 0 (told hidden), the second's 0, 0, 20, all visible
    assert [figures[f"delta@{t}"] for t in THRESHOLDS] == [4 / 6, 4 / 6, 5 / 6, 5 / 6, 5 / 6]
    assert [figures[f"jaccard@{t}"] for t in THRESHOLDS] == [3 / 8, 3 / 8, 4 / 7, 4 / 7, 4 / 7]
    assert figures["oa"] == 5 / 6


def test_frames_before_the_query_count_in_mode_strided_only():
    asked = np.array([2], np.int32)
    assert evaluated_frames(asked, 4, "first")[:, 0].tolist() == [False, False, False, True]
    assert evaluated_frames(asked, 4, "strided")[:, 0].tolist() == [True, True, False, True]


def test_perfect_tracks_get_one_everywhere():
    truth, seen, _, _ = case()
    figures = tapvid_figures(truth, seen, truth, seen, evaluated_frames(np.zeros(2, np.int32), 4, "first"), WHOLE)
    assert set(figures.values()) == {1.0}


@pytest.mark.parametrize(("shift", "delta"), [(0.5, 1.0), (1.0, 0.8), (3.0, 0.6), (4.0, 0.4), (15.9, 0.2), (16.0, 0.0)])
def test_shifted_tracks_get_the_thresholds_that_they_stay_under(shift: float, delta: float):
    truth, _, _, _ = case()
    seen = np.ones((4, 2), bool)
    found = truth + np.array([0, shift], np.float32)
    figures = tapvid_figures(truth, seen, found, seen, evaluated_frames(np.zeros(2, np.int32), 4, "first"), WHOLE)
    assert figures["delta_avg"] == pytest.approx(delta)
    assert figures["aj"] == pytest.approx(delta)  # each threshold's Jaccard is 1 or 0 here
    assert figures["oa"] == 1.0


def test_told_all_hidden_scores_no_jaccard_and_the_hidden_share_as_occlusion_accuracy():
    truth, seen, _, told = case()
    counted = evaluated_frames(np.zeros(2, np.int32), 4, "first")
    figures = tapvid_figures(truth, seen, truth, np.zeros_like(told), counted, WHOLE)
    assert figures["aj"] == 0.0
    assert figures["oa"] == pytest.approx(1 / 6)
    assert figures["delta_avg"] == 1.0  # position accuracy doesn't ask what was told


def test_truly_all_hidden_has_no_position_accuracy():
    truth, seen, _, _ = case()
    counted, hidden = evaluated_frames(np.zeros(2, np.int32), 4, "first"), np.zeros_like(seen)
    right = rounded(tapvid_figures(truth, hidden, truth, hidden, counted, WHOLE))
    wrong = rounded(tapvid_figures(truth, hidden, truth, ~hidden, counted, WHOLE))
    assert (right["delta_avg"], right["aj"], right["oa"]) == (None, None, 1.0)
    assert (wrong["delta_avg"], wrong["aj"], wrong["oa"]) == (None, 0.0, 0.0)


def test_distances_are_those_of_a_square_frame_of_256():
    truth, _, _, _ = case()
    seen = np.ones((4, 2), bool)
    found = truth + np.array([3.0, 1.2], np.float32)  # 1.5 and 2.4 of 256: between 2 and 4
    figures = tapvid_figures(truth, seen, found, seen, np.ones((4, 2), bool), (512, 128))
    assert [figures[f"delta@{t}"] for t in THRESHOLDS] == [0, 0, 1, 1, 1]


def published(truth, seen, found, told, counted) -> dict[str, float]:
    """The definition, place by place."""
    figures, places = {}, list(zip(*np.nonzero(counted), strict=True))
    for threshold in THRESHOLDS:
        hits = near = positives = false = 0
        for place in places:
            within = float(np.hypot(*(found[place] - truth[place]))) < threshold
            positives += seen[place]
            near += within and seen[place]
            hits += within and seen[place] and told[place]
            false += told[place] and not (within and seen[place])
        figures[f"delta@{threshold}"], figures[f"jaccard@{threshold}"] = near / positives, hits / (positives + false)
    return figures


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_figures_of_random_tracks_are_those_of_the_definition_place_by_place(mode: str):
    rng = np.random.default_rng(4)
    truth = rng.uniform(0, 256, (9, 7, 2)).astype(np.float32)
    found = truth + rng.normal(0, 5, truth.shape).astype(np.float32)
    seen, told = rng.random((2, 9, 7)) < 0.6
    counted = evaluated_frames(rng.integers(0, 6, 7).astype(np.int32), 9, mode)
    figures = tapvid_figures(truth, seen, found, told, counted, WHOLE)
    for name, value in published(truth, seen, found, told, counted).items():
        assert figures[name] == pytest.approx(value), name


def test_joints_count_within_a_share_of_the_mask_of_their_own_frame():
    truth = np.zeros((3, 2, 2), np.float32)
    found = truth + np.array([[[0, 0], [0, 0]], [[6, 8], [0, 20]], [[6, 8], [0, 21]]], np.float32)
    counted = np.array([[0, 0], [1, 1], [1, 1]], bool)
    areas = np.array([1.0, 100.0**2, 50.0**2])  # reaches of 10 and 20 pixels, then of 5 and 10
    assert pck_figures(truth, found, counted, areas) == {"pck@0.1": 1 / 4, "pck@0.2": 3 / 4}


def truth_of(seen: np.ndarray, known: np.ndarray | None = None, areas: np.ndarray | None = None) -> Truth:
    frames, count = seen.shape
    steps = np.arange(frames * count, dtype=np.float32).reshape(frames, count)
    names = tuple("abcdefg"[:count])
    return Truth(names, np.stack([steps, steps], 2), seen, np.ones_like(seen) if known is None else known, WHOLE, areas)


def test_first_asks_each_point_where_it_is_first_seen_and_leaves_out_what_never_is():
    asked = ask(truth_of(np.array([[0, 0, 1], [1, 0, 1], [1, 0, 0]], bool)), "first")
    assert asked.queries.names == ("a", "c")
    assert asked.queries.frame.tolist() == [1, 0]
    assert asked.queries.xy[:, 0].tolist() == [3.0, 2.0]
    assert asked.point.tolist() == [0, 2]


def test_strided_asks_every_fifth_frame_for_what_is_seen_in_it():
    seen = np.ones((11, 2), bool)
    seen[5, 0] = False
    asked = ask(truth_of(seen), "strided")
    assert list(zip(asked.queries.frame.tolist(), asked.point.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (5, 1),
        (10, 0),
        (10, 1),
    ]
    assert asked.queries.xy[2].tolist() == [11.0, 11.0]
    assert len(set(asked.queries.names)) == 5


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_sparse_joints_are_judged_after_their_first_annotated_frame_and_without_visibility(mode: str):
    known = np.zeros((8, 2), bool)
    known[[1, 4, 6]] = True
    seen = known.copy()
    seen[1, 1] = seen[6, 0] = False
    truth = truth_of(seen, known, np.full(8, 100.0**2))
    asked = ask(truth, mode)
    assert asked.queries.frame.tolist() == [1, 4]
    xy = truth.xy.copy()
    xy[4, 0] += [0, 15]  # counted: joint a in frame 4, joint b in frame 6
    xy[6, 0] += 90
    xy[1] += 90
    hidden = np.zeros_like(seen)
    found = PointTracks(asked.queries.names, xy, hidden, hidden.astype(np.float32), WHOLE)
    figures = judge(truth, asked, found, mode)
    assert figures["pck@0.1"] == 0.5
    assert figures["pck@0.2"] == 1.0
    assert figures["delta@16"] == 1.0
    assert figures["delta@8"] == 0.5
    assert not {"aj", "oa"} & figures.keys()
