"""The arithmetic of a vote, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_trackers.voting import interpolated, mean_on_the_way, vote


def said(*places: tuple[float, float]) -> NDArray[np.float32]:
    """What members say of one point in one frame: [M, 1, 1, 2]."""
    return np.array(places, np.float32)[:, None, None]


def weights(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]


def test_an_outlier_is_outvoted_and_has_no_part_in_the_place() -> None:
    place, share = vote(said((10, 5), (90, 5), (11, 5)), weights(1, 1, 1), agree=3.0)
    np.testing.assert_allclose(place[0, 0], [10.5, 5])
    np.testing.assert_allclose(share[0, 0], (1 + np.exp(-1 / 3)) / 3, rtol=1e-5)


def test_of_two_who_disagree_the_heavier_decides() -> None:
    places = said((10, 5), (90, 5))
    np.testing.assert_allclose(vote(places, weights(0.2, 0.3), 3.0)[0][0, 0], [90, 5])
    np.testing.assert_allclose(vote(places, weights(0.3, 0.2), 3.0)[0][0, 0], [10, 5])


def test_two_light_members_that_agree_beat_a_heavier_one() -> None:
    place, share = vote(said((0, 0), (50, 0), (50, 0)), weights(0.5, 0.3, 0.3), 3.0)
    np.testing.assert_allclose(place[0, 0], [50, 0])
    np.testing.assert_allclose(share[0, 0], 0.6 / 1.1, rtol=1e-5)


def test_members_that_agree_are_averaged_by_weight() -> None:
    np.testing.assert_allclose(vote(said((0, 0), (2, 1)), weights(3, 1), 3.0)[0][0, 0], [0.5, 0.25])
    # the middle one wins; the others are 2 px from it each
    np.testing.assert_allclose(vote(said((0, 0), (2, 0), (4, 0)), weights(1, 1, 1), 2.0)[0][0, 0], [2, 0])
    np.testing.assert_allclose(vote(said((0, 0), (2, 0)), weights(3, 1), 1.9)[0][0, 0], [0, 0])


def test_a_single_member_is_its_own_answer() -> None:
    place, share = vote(said((7, 8)), weights(0.001), 3.0)
    np.testing.assert_allclose(place[0, 0], [7, 8])
    assert share[0, 0] == pytest.approx(1.0)


def test_each_frame_and_point_votes_for_itself() -> None:
    random = np.random.default_rng(0)
    xy = random.uniform(0, 20, (3, 5, 4, 2)).astype(np.float32)
    weight = random.uniform(0.1, 1, (3, 5, 4)).astype(np.float32)
    place, share = vote(xy, weight, 3.0)
    for t, i in np.ndindex(5, 4):
        one, its = vote(xy[:, t : t + 1, i : i + 1], weight[:, t : t + 1, i : i + 1], 3.0)
        np.testing.assert_allclose(place[t, i], one[0, 0], rtol=1e-5)
        np.testing.assert_allclose(share[t, i], its[0, 0], rtol=1e-5)
    assert ((share > 0) & (share <= 1)).all()
    assert place.dtype == share.dtype == np.float32


def test_no_points_no_votes() -> None:
    place, share = vote(np.zeros((2, 3, 0, 2), np.float32), np.ones((2, 3, 0), np.float32), 3.0)
    assert (place.shape, share.shape) == ((3, 0, 2), (3, 0))


def test_the_mean_counts_the_frames_between_an_anchor_and_the_keyframe() -> None:
    apart = np.zeros((5, 2, 1), np.float32)
    apart[:, 0, 0] = [8, 4, 3, 2, 99]  # tracked back from frame 0
    apart[:, 1, 0] = [99, 99, 1, 3, 5]  # tracked back from frame 4
    found = mean_on_the_way(apart, np.array([0, 4]), np.array([2], np.int32))
    np.testing.assert_allclose(found, [[(8 + 4 + 3) / 3], [(1 + 3 + 5) / 3]])


def test_on_the_keyframe_the_way_is_that_frame_alone() -> None:
    apart = np.array([5, 7, 9], np.float32)[:, None, None]
    np.testing.assert_allclose(mean_on_the_way(apart, np.array([1]), np.array([1], np.int32)), [[7]])


def test_each_point_has_its_own_way() -> None:
    apart = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None], (4, 1, 3))
    found = mean_on_the_way(apart, np.array([1]), np.array([0, 1, 3], np.int32))
    np.testing.assert_allclose(found, [[0.5, 1.0, 2.0]])


@pytest.mark.parametrize("anchors", [[0, 9], [0, 4, 9], [2, 3, 7], [0]])
def test_between_anchors_it_is_as_numpy_interpolates(anchors: list[int]) -> None:
    values = np.random.default_rng(0).uniform(0, 9, (len(anchors), 3)).astype(np.float32)
    found = interpolated(values, np.array(anchors), 10)
    wanted = np.stack([np.interp(np.arange(10), anchors, column) for column in values.T], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found.dtype == np.float32
