from __future__ import annotations

import numpy as np
import pytest

from vswap_canonical.smoothing import bridged, smoothed

FRAMES, KEYFRAME = 40, 12
TIME = np.arange(FRAMES)
STEADY = np.stack([3 + 0.5 * TIME, 7 - 0.2 * TIME], -1)[:, None].repeat(3, 1)  # [T, 3, 2]


@pytest.mark.parametrize("deviation", [0.2, 0.5, 2, 30])
def test_steady_change_is_left_alone_up_to_both_ends(deviation: float) -> None:
    np.testing.assert_allclose(smoothed(STEADY, KEYFRAME, deviation), STEADY, atol=1e-9)


def test_jitter_shrinks_and_the_keyframe_stays_as_it_is() -> None:
    jittered = STEADY + np.random.default_rng(0).normal(0, 1, STEADY.shape)
    jittered[KEYFRAME] = STEADY[KEYFRAME]
    calm = smoothed(jittered, KEYFRAME, 2)
    np.testing.assert_array_equal(calm[KEYFRAME], STEADY[KEYFRAME])
    left = np.abs(calm - STEADY).mean((1, 2))
    assert left.mean() < 0.5 * np.abs(jittered - STEADY).mean()
    assert left[KEYFRAME - 1 : KEYFRAME + 2].max() < 0.5  # no jump beside the keyframe


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_are_fine(frames: int) -> None:
    values = STEADY[:frames]
    np.testing.assert_allclose(smoothed(values, 0, 5), values, atol=1e-9)


def test_next_to_no_deviation_changes_nothing() -> None:
    jittered = np.random.default_rng(0).normal(size=(5, 2))
    for deviation in (0, 0.01, 0.19):
        np.testing.assert_array_equal(smoothed(jittered, 0, deviation), jittered)


def turning(frames: int) -> np.ndarray:
    """A displacement that turns by 0.3 rad and grows by a tenth a frame: [T, 1, 2]."""
    arrow = 5 * np.exp((0.3j + 0.1) * np.arange(frames))
    return np.stack([arrow.real, arrow.imag], -1)[:, None].astype(np.float32)


def test_what_turns_and_grows_evenly_does_so_through_a_gap() -> None:
    known = np.ones(10, bool)
    known[[3, 4, 5, 6, 9]] = False
    broken = turning(10)
    broken[~known] = 99
    whole = bridged(broken, known)
    np.testing.assert_allclose(whole[:9], turning(9), atol=1e-4)
    np.testing.assert_array_equal(whole[9], whole[8])


def test_a_displacement_of_nothing_is_bridged_too() -> None:
    delta = np.zeros((5, 1, 2), np.float32)
    delta[4] = 8
    known = np.array([1, 0, 0, 0, 1], bool)
    np.testing.assert_allclose(bridged(delta, known)[:, 0, 0], [0, 2, 4, 6, 8])


def test_where_nothing_is_known_all_stays() -> None:
    np.testing.assert_array_equal(bridged(turning(4), np.zeros(4, bool)), turning(4))
