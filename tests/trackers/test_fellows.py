"""Two crowds in one place, walking different ways."""

from __future__ import annotations

import numpy as np
import pytest

from vswap_kernel.types import FloatArray
from vswap_trackers.fellows import Fellows

COUNT, REACH = 20, 30.0
EVEN = np.arange(COUNT) % 2 == 0
PLACES = np.random.default_rng(0).random((COUNT, 2)).astype(np.float32) * 50
STEPS = np.where(EVEN[:, None], np.float32([5, 0]), np.float32([0, -3])).astype(np.float32)
ALL, EVERY = np.ones(COUNT, bool), np.arange(COUNT)


def watched(frames: int) -> Fellows:
    fellows = Fellows(COUNT)
    for _ in range(frames):
        fellows.watch(STEPS, ALL)
    return fellows


def test_points_that_have_walked_together_speak_for_each_other_and_strangers_do_not() -> None:
    np.testing.assert_allclose(watched(3).mean(STEPS, ALL, EVERY, PLACES, REACH), STEPS, atol=0.05)


def test_before_anything_is_known_the_near_ones_speak() -> None:
    mean = Fellows(COUNT).mean(STEPS, ALL, EVERY, PLACES, REACH)
    assert np.abs(mean - STEPS).max() > 1.0


def test_a_point_has_no_say_about_itself() -> None:
    steps = STEPS.copy()
    steps[4] = (40, 40)
    np.testing.assert_allclose(watched(3).mean(steps, ALL, np.array([4]), PLACES, REACH), STEPS[[4]], atol=0.05)


def test_only_those_asked_speak_and_where_there_are_none_the_mean_is_zero() -> None:
    alone = EVERY == 7
    fellows = watched(3)
    np.testing.assert_allclose(fellows.mean(STEPS, alone, np.array([6]), PLACES, REACH), STEPS[[7]], atol=1e-5)
    assert not fellows.mean(STEPS, ~ALL, EVERY, PLACES, REACH).any()
    assert not fellows.mean(STEPS, alone, np.array([7]), PLACES, REACH).any()


def test_what_an_unsure_point_does_is_not_learnt() -> None:
    fellows, wild, sure = watched(3), STEPS.copy(), ALL.copy()
    wild[1], sure[1] = STEPS[0], False
    for _ in range(20):
        fellows.watch(wild, sure)
    np.testing.assert_allclose(fellows.mean(STEPS, ALL, np.array([1]), PLACES, REACH), STEPS[[1]], atol=0.05)


@pytest.mark.parametrize("count", [1, 2, 255, 257, 1000])
def test_any_number_of_points(count: int) -> None:
    rng, every = np.random.default_rng(1), np.ones(count, bool)
    places: FloatArray = (rng.random((count, 2)) * 300).astype(np.float32)
    fellows, steps = Fellows(count), np.full((count, 2), 2.5, np.float32)
    fellows.watch(steps, every)
    mean = fellows.mean(steps, every, np.arange(count), places, REACH)
    np.testing.assert_allclose(mean, steps if count > 1 else 0 * steps, rtol=1e-5)
