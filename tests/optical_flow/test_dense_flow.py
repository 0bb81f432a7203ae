"""Dense flow read at points."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2")

from vswap_optical_flow.dense_flow import DenseFlow, read_at

SIZE = (160, 120)


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2.0) - 127) * 5 + 127, 0, 255).astype(np.uint8)


def shifted(picture: NDArray[np.uint8], by: tuple[float, float]) -> NDArray[np.uint8]:
    matrix = np.array([[1.0, 0, by[0]], [0, 1, by[1]]])
    return cv2.warpAffine(picture, matrix, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def test_the_flow_of_a_shift_is_read_to_a_fraction_of_a_pixel_and_comes_back() -> None:
    first = texture(120, 160)
    xy = np.random.default_rng(1).uniform((30, 30), (120, 80), (50, 2)).astype(np.float32)
    frames = [grey(picture) for picture in (first, shifted(first, (5.4, -2.7)))]
    places, misses = DenseFlow().both_ways(*frames, xy)
    error = np.linalg.norm(places - xy - np.array([5.4, -2.7]), axis=1)
    assert np.median(error) < 0.15
    assert error.max() < 0.7
    assert np.median(misses) < 0.1
    assert misses.max() < 0.7


def test_where_a_point_is_covered_the_flow_does_not_come_back() -> None:
    first = texture(120, 160)
    second = shifted(first, (3, 0))
    second[40:90, 60:110] = texture(50, 50, seed=5)
    under = np.stack(np.meshgrid(np.arange(67, 99, 4), np.arange(50, 82, 4)), axis=-1).reshape(-1, 2).astype(np.float32)
    beside = np.array([[30.0, 20.0], [135.0, 100.0], [25.0, 90.0]], np.float32)
    before, after = grey(first), grey(second)
    assert np.median(DenseFlow().both_ways(before, after, under)[1]) > 0.5
    assert DenseFlow().both_ways(before, after, beside)[1].max() < 0.1


def test_values_are_read_bilinearly_and_the_border_is_repeated() -> None:
    y, x = np.indices((6, 9)).astype(np.float32)
    image = np.stack([x, y, x + y], axis=2)
    found = read_at(image, np.array([[[2.5, 3.25], [0, 0]], [[-50, 2], [1e9, -1e9]]], np.float32))
    # OpenCV reads to 1/32 pixel
    np.testing.assert_allclose(found, [[[2.5, 3.25, 5.75], [0, 0, 0]], [[0, 2, 2], [8, 0, 8]]], atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 40000])
def test_any_number_of_places_is_read_in_order(count: int) -> None:
    y, x = np.indices((50, 60)).astype(np.float32)
    xy = np.random.default_rng(0).integers(0, 50, (count, 2)).astype(np.float32)
    np.testing.assert_array_equal(read_at(np.stack([x, y], axis=2), xy), xy)
