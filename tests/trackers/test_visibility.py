"""The rule of visibility, and where hidden points are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_trackers.visibility import VisibilityRule, bridged

RULE = VisibilityRule(scale=2.0, hide=0.25, show=0.5)


def array(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_trust_is_confidence_times_the_way_back_times_likeness() -> None:
    found = RULE.trust(array(1.0, 1.0, 0.5, 1.0), array(0.0, 2.0, 4.0, 1.0), array(1.0, 1.0, 0.5, 0.5))
    np.testing.assert_allclose(found, [1.0, 0.5, 0.5 / 5 * 0.5, 0.8 * 0.5], rtol=1e-6)
    assert found.dtype == np.float32


def test_nothing_that_comes_back_and_a_look_turned_round_are_no_trust() -> None:
    np.testing.assert_array_equal(RULE.trust(1.0, array(np.inf, 0.0), array(1.0, -0.7)), [0.0, 0.0])


def test_between_the_thresholds_a_point_stays_what_it_was() -> None:
    seen, states = np.array([True]), []
    for trust in (0.9, 0.3, 0.25, 0.24, 0.3, 0.49, 0.5, 0.3):
        seen = RULE.decide(array(trust), seen)
        states.append(bool(seen[0]))
    assert states == [True, True, True, False, False, False, True, True]


def test_each_point_is_decided_by_its_own_past() -> None:
    found = RULE.decide(array(0.4, 0.4, 0.1, 0.9), np.array([True, False, True, False]))
    assert found.tolist() == [True, False, False, True]


def path(*places: float) -> NDArray[np.float32]:
    """One point that is at (place, 0): [T, 1, 2]."""
    return np.stack([array(*places), np.zeros(len(places), np.float32)], axis=1)[:, None]


def column(*seen: int) -> NDArray[np.bool_]:
    return np.array(seen, bool)[:, None]


def test_a_hidden_point_is_on_the_line_between_the_places_around() -> None:
    found = bridged(path(10, 999, 999, 999, 18), column(1, 0, 0, 0, 1), path(0, 0, 0, 0, 0))
    np.testing.assert_allclose(found[:, 0], [[10, 0], [12, 0], [14, 0], [16, 0], [18, 0]])


def test_a_hidden_point_moves_with_its_subject() -> None:
    """Carried by 5, 20, 15 px it was 1 px ahead when it went, and is 4 px ahead when it returns."""
    found = bridged(path(1, -7, -7, 44), column(1, 0, 0, 1), path(0, 5, 25, 40))
    np.testing.assert_allclose(found[:, 0, 0], [1, 5 + 2, 25 + 3, 44])


def test_before_the_first_and_after_the_last_place_seen_the_distance_stays() -> None:
    found = bridged(path(0, 0, 23, 35, 0, 0), column(0, 0, 1, 1, 0, 0), path(0, 10, 20, 30, 40, 50))
    np.testing.assert_allclose(found[:, 0, 0], [3, 13, 23, 35, 45, 55])


def test_a_point_never_seen_is_where_it_is_carried() -> None:
    carried = path(3, 5, 8)
    np.testing.assert_array_equal(bridged(path(np.nan, 99, -99), column(0, 0, 0), carried), carried)


def test_what_a_hidden_place_says_is_not_read() -> None:
    seen, carried = column(1, 0, 1), path(0, 1, 2)
    one, other = (bridged(path(4, lie, 8), seen, carried) for lie in (np.nan, 1e9))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seen", [0, 1])
def test_one_frame(seen: int) -> None:
    found = bridged(path(7), column(seen), path(5))
    np.testing.assert_array_equal(found, path(7 if seen else 5))


def test_no_points() -> None:
    empty = np.zeros((4, 0, 2), np.float32)
    assert bridged(empty, np.zeros((4, 0), bool), empty).shape == (4, 0, 2)


def plain(xy: NDArray[np.float32], visible: NDArray[np.bool_], carried: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same, point by point and frame by frame."""
    found = carried.astype(np.float64)
    for point in range(xy.shape[1]):
        seen = np.flatnonzero(visible[:, point])
        away = (xy - carried)[seen, point].astype(np.float64)
        for axis in (0, 1) if len(seen) else ():
            found[:, point, axis] += np.interp(np.arange(len(xy)), seen, away[:, axis])
    return found.astype(np.float32)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_all_points_at_once_are_as_one_by_one(share: float) -> None:
    random = np.random.default_rng(0)
    xy, carried = random.uniform(0, 100, (2, 30, 40, 2)).astype(np.float32)
    visible = random.random((30, 40)) < share
    np.testing.assert_allclose(bridged(xy, visible, carried), plain(xy, visible, carried), atol=1e-4)
    np.testing.assert_allclose(bridged(xy, visible, carried)[visible], xy[visible], atol=1e-4)
