import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2")

from vswap_trackers.group_motion import fit_similarity
from vswap_trackers.patches import align, correlation, grid, normalise, sample, search


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).uniform(0, 255, (80, 100)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip((blurred - 127) * 5 + 127, 0, 255).astype(np.uint8)


PLACES = np.array([[40.0, 30.0], [60.0, 45.0], [30.0, 50.0]], np.float32)
UPRIGHT = np.tile(np.eye(2, dtype=np.float32), (3, 1, 1))


def test_samples_are_grey_values_rows_first(picture: NDArray[np.uint8]) -> None:
    values = sample(picture, PLACES, UPRIGHT, grid(5)).reshape(3, 5, 5)
    np.testing.assert_array_equal(values[0], picture[28:33, 38:43])


def test_a_patch_of_a_turned_picture_is_the_same_upright(picture: NDArray[np.uint8]) -> None:
    matrix = cv2.getRotationMatrix2D((50.0, 40.0), 30.0, 1.2)
    turned = cv2.warpAffine(picture, matrix, (100, 80), flags=cv2.INTER_CUBIC)
    places = (PLACES @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    linear = np.tile(matrix[:, :2].astype(np.float32), (3, 1, 1))
    before = normalise(sample(picture, PLACES, UPRIGHT, grid(11)))
    after = normalise(sample(turned, places, linear, grid(11)))
    assert correlation(before, after).min() > 0.98
    assert correlation(before, normalise(sample(turned, places, UPRIGHT, grid(11)))).max() < 0.9


def test_correlation_does_not_see_brightness_and_contrast(picture: NDArray[np.uint8]) -> None:
    patch = normalise(sample(picture, PLACES, UPRIGHT, grid(11)))
    dim = normalise(sample(picture, PLACES, UPRIGHT, grid(11)) * 0.5 + 20)
    np.testing.assert_allclose(correlation(patch, dim), 1.0, atol=1e-5)


def test_a_flat_patch_correlates_with_nothing(picture: NDArray[np.uint8]) -> None:
    flat = normalise(np.full((3, 121), 50.0, np.float32))
    np.testing.assert_array_equal(correlation(flat, normalise(sample(picture, PLACES, UPRIGHT, grid(11)))), 0.0)


def test_align_finds_the_place_to_a_fraction_of_a_pixel(picture: NDArray[np.uint8]) -> None:
    patch = normalise(sample(picture, PLACES, UPRIGHT, grid(15)))
    start = PLACES + np.array([[1.2, -0.7], [-0.9, 1.1], [0.5, 0.5]], np.float32)
    assert np.abs(align(picture, patch, start, UPRIGHT) - PLACES).max() < 0.1


def test_search_finds_a_place_within_its_radius(picture: NDArray[np.uint8]) -> None:
    patch = normalise(sample(picture, PLACES, UPRIGHT, grid(11)))
    shift = np.array([[6.0, -8.0], [-5.0, 3.0], [0.0, 0.0]], np.float32)
    found, score = search(picture, patch, PLACES + shift, UPRIGHT, 8)
    np.testing.assert_allclose(found, PLACES, atol=1e-4)
    assert score.min() > 0.999


def test_the_score_of_a_search_is_the_correlation_at_the_place_found(picture: NDArray[np.uint8]) -> None:
    patch = normalise(sample(picture, PLACES[::-1].copy(), UPRIGHT, grid(11)))
    found, score = search(picture, patch, PLACES, UPRIGHT, 4)
    there = correlation(normalise(sample(picture, found, UPRIGHT, grid(11))), patch)
    np.testing.assert_allclose(score, there, atol=1e-4)


def test_the_common_motion_is_not_misled_by_points_with_their_own() -> None:
    start = np.random.default_rng(2).uniform(0, 100, (12, 2)).astype(np.float32)
    angle, scale = 0.08, 1.05
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    end = (start @ turn.T + (4, -2)).astype(np.float32)
    wrong = end.copy()
    wrong[:4] += (30, 12)
    motion = fit_similarity(start, wrong)
    assert np.abs(motion.apply(start) - end).max() < 0.5
    np.testing.assert_allclose(motion.matrix, turn, atol=0.01)


def test_one_or_two_points_make_a_pure_shift() -> None:
    start = np.array([[10.0, 20.0], [30.0, 20.0]], np.float32)
    motion = fit_similarity(start, start + np.array([[3, 1], [5, 1]], np.float32))
    np.testing.assert_array_equal(motion.matrix, np.eye(2))
    np.testing.assert_allclose(motion.apply(start) - start, [[4, 1], [4, 1]], atol=1e-5)
