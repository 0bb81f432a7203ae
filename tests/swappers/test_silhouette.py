from __future__ import annotations

import numpy as np
import pytest

from vswap_swappers.silhouette import Silhouette, pose_from_silhouette, turned_to_us

SHAPE = np.array([[0, 0], [40, 0], [40, 20], [0, 20], [20, 10]], float)
FRAMES = 20
SIZE = np.linspace(1.0, 3.0, FRAMES)  # the subject comes nearer
CENTRE = np.stack([np.linspace(50, 90, FRAMES), np.full(FRAMES, 60.0)], -1)
SILHOUETTE = Silhouette(SIZE, CENTRE)


def seen_from(side: np.ndarray) -> np.ndarray:
    """Targets of points that stand in a plane which is turned away: `side` [T] is the share of its width seen."""
    local = (SHAPE - SHAPE.mean(0))[None] * np.stack([side, np.ones(FRAMES)], -1)[:, None]
    return local * SIZE[:, None, None] + CENTRE[:, None]


def test_points_that_turn_edge_on_are_not_used_however_near_they_come() -> None:
    side = np.where(np.arange(FRAMES) < 5, 0.2, 1.0)
    usable = turned_to_us(SHAPE, seen_from(side), np.ones((FRAMES, 5)), SILHOUETTE)
    assert (usable[:5] == 0).all()
    assert (usable[5:] == 1).all()


def test_hidden_points_are_no_sign_of_turning_away() -> None:
    weight = np.ones((FRAMES, 5))
    weight[3:9, 1:3] = 0
    weight[15, :4] = 0  # one is left: nothing can be said, so nothing is taken away
    assert (turned_to_us(SHAPE, seen_from(np.ones(FRAMES)), weight, SILHOUETTE) == 1).all()


def test_the_pose_of_edge_on_frames_has_the_size_and_the_place_of_the_mask() -> None:
    matrices = SIZE[:, None, None] * np.eye(2)
    places = CENTRE + SIZE[:, None] * np.array([2.0, -1.0])
    usable = np.where(np.arange(FRAMES) < 5, 0.0, 1.0)
    spoilt = np.where(usable[:, None, None] == 1, matrices, 0.1)
    posed, placed = pose_from_silhouette(spoilt, np.where(usable[:, None] == 1, places, 0.0), usable, SILHOUETTE)
    np.testing.assert_allclose(posed, matrices, atol=1e-12)
    np.testing.assert_allclose(placed, places, atol=1e-12)


def test_an_empty_mask_is_bridged() -> None:
    area = np.array([100.0, 100, 0, 100, 100])
    centre = np.array([[10.0, 5], [11, 5], [np.nan, np.nan], [13, 5], [14, 5]])
    found = Silhouette.of(area, centre, 25.0, 0.0)
    np.testing.assert_allclose(found.scale, 2.0)
    assert found.centre[2] == pytest.approx([12, 5], abs=0.1)
