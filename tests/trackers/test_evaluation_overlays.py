from __future__ import annotations

import numpy as np
import pytest

from vswap_kernel.types import ByteArray, PointTracks, Video
from vswap_trackers.evaluation.overlays import BAD, GOOD, HIDDEN, TRUE, UNKNOWN, strip
from vswap_trackers.evaluation.truth import Truth, ask

SIZE = (80, 60)


def overlay(shift: float = 0.0, told: bool = True, seen: bool = True, known: bool = True, frames: int = 5) -> ByteArray:
    """Three still points on black, seen and known in the first frame, and in the rest as the arguments say."""
    xy = np.tile(np.array([[20, 20], [40, 30], [60, 40]], np.float32), (frames, 1, 1))
    visible, certain = np.full((2, frames, 3), True)
    visible[1:], certain[1:] = seen and known, known
    truth = Truth(("a", "b", "c"), xy, visible, certain, SIZE)
    found_visible = np.full((frames, 3), told)
    found = PointTracks(truth.names, xy + np.float32(shift), found_visible, found_visible.astype(np.float32), SIZE)
    video = Video(np.zeros((frames, SIZE[1], SIZE[0], 3), np.uint8), 24.0)
    return strip(video, truth, ask(truth, "first"), found)


def amount(picture: ByteArray, ink: tuple[int, int, int]) -> int:
    return int((picture == np.array(ink)).all(axis=2).sum())


def test_right_places_are_green_inside_white_rings_and_wrong_ones_red_with_a_line():
    right, wrong, farther = overlay(), overlay(6.0), overlay(12.0)
    assert amount(right, GOOD) > 0
    assert amount(right, TRUE) > 0
    assert amount(right, BAD) == amount(right, HIDDEN) == amount(right, UNKNOWN) == 0
    assert amount(wrong, GOOD) == 0
    assert 0 < amount(wrong, BAD) < amount(farther, BAD)


@pytest.mark.parametrize(
    ("case", "ink"),
    [({"told": False}, HIDDEN), ({"seen": False}, BAD), ({"known": False}, UNKNOWN)],
)
def test_what_is_told_wrongly_or_can_not_be_judged_has_its_own_ink(case: dict[str, bool], ink: tuple[int, int, int]):
    assert amount(overlay(), ink) == 0
    assert amount(overlay(**case), ink) > 0


def test_small_frames_are_enlarged_and_at_most_eight_are_shown():
    assert overlay(frames=5).shape == (2 * 242, 4 * 322, 3)
    assert overlay(frames=100).shape == (2 * 242, 4 * 322, 3)
    assert overlay(frames=1).shape == (242, 322, 3)


def test_places_outside_the_picture_are_no_harm():
    assert amount(overlay(1e9), TRUE) > 0
    assert amount(overlay(-1e9), TRUE) > 0
