from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_kernel.types import Video
from vswap_swappers.camera import (
    View,
    camera_path,
    fit_motion,
    largest_step,
    motion_between,
    refine_motion,
    track_both_ways,
)

SIZE = (160, 120)
NOTHING = np.zeros((SIZE[1], SIZE[0]), bool)


def texture(seed: int, size: tuple[int, int] = (400, 300)) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (size[1], size[0], 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, None, 2.5)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def seen_by(world: NDArray[np.uint8], camera: NDArray[np.float64]) -> NDArray[np.uint8]:
    return cv2.warpPerspective(world, camera, SIZE, flags=cv2.INTER_CUBIC)


def cameras(count: int) -> list[NDArray[np.float64]]:
    """World to frame: a pan of 3 px a frame with a slow zoom and roll."""
    found = []
    for index in range(count):
        angle, zoom = 0.004 * index, 1 + 0.004 * index
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        found.append(np.diag([zoom, zoom, 1.0]) @ turn @ np.array([[1, 0, -40 - 3.0 * index], [0, 1, -60], [0, 0, 1]]))
    return found


def silent(*_: object) -> None:
    pass


@pytest.mark.parametrize("model", ["similarity", "homography"])
def test_the_chained_path_is_the_camera_s(model: str) -> None:
    world, truth = texture(0), cameras(20)
    frames = np.stack([seen_by(world, camera) for camera in truth])
    path = camera_path(Video(frames, 25.0), lambda i: View.of(frames[i], NOTHING), model, silent)
    exact = truth[0] @ np.linalg.inv(truth[19])
    assert largest_step(motion_between(path, 19, 0) @ np.linalg.inv(exact), SIZE) < 0.4


def test_what_is_masked_does_not_pull_the_camera_along() -> None:
    world, truth = texture(1), cameras(2)
    first, second = (seen_by(world, camera) for camera in truth)
    subject = NOTHING.copy()
    subject[20:100, 30:110] = True
    first[subject] = texture(2, SIZE)[subject]
    second[subject] = np.roll(texture(2, SIZE), 9, axis=1)[subject]
    motion, support = refine_motion(View.of(first, subject), View.of(second, subject), np.eye(3), "homography")
    exact = truth[1] @ np.linalg.inv(truth[0])
    assert support > 20
    assert largest_step(motion @ np.linalg.inv(exact), SIZE) < 0.7


def test_a_guess_is_corrected_between_frames_far_apart() -> None:
    world, truth = texture(3), cameras(16)
    exact = truth[15] @ np.linalg.inv(truth[0])
    guess = np.array([[1, 0, 5.0], [0, 1, -4.0], [0, 0, 1]]) @ exact
    views = [View.of(seen_by(world, truth[i]), NOTHING) for i in (0, 15)]
    motion, _ = refine_motion(*views, guess, "homography")
    assert largest_step(motion @ np.linalg.inv(exact), SIZE) < 0.7


def test_a_blank_frame_leaves_the_guess_as_it_is() -> None:
    blank = View.of(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8), NOTHING)
    guess = np.array([[1, 0, 7.0], [0, 1, 0], [0, 0, 1]])
    motion, support = refine_motion(blank, blank, guess, "homography")
    assert support == 0
    np.testing.assert_allclose(motion, guess)


@pytest.mark.parametrize(("count", "spread", "rows"), [(40, 100, 3), (14, 100, 2), (6, 100, 1), (2, 100, 0)])
def test_the_model_gets_poorer_with_the_number_of_points(count: int, spread: int, rows: int) -> None:
    source = np.random.default_rng(count).uniform(5, spread, (count, 2)).astype(np.float32)
    exact = np.array([[1.02, -0.03, 4], [0.03, 1.02, -2], [2e-4, 1e-4, 1]])
    if rows < 3:
        exact = np.array([[1.0, 0, 4], [0, 1.0, -2], [0, 0, 1]])
    moved = cv2.perspectiveTransform(source[None], exact)[0]
    matrix, support = fit_motion(source, moved, "homography", SIZE)
    assert support == (count if rows else 0)
    np.testing.assert_allclose(matrix, exact if rows else np.eye(3), atol=2e-2)
    assert (abs(matrix[2, 0]) > 1e-5) == (rows == 3)


def test_crowded_points_are_not_given_a_homography() -> None:
    source = np.random.default_rng(5).uniform(60, 75, (60, 2)).astype(np.float32)
    moved = source + np.random.default_rng(6).normal(0, 0.3, source.shape).astype(np.float32) + np.float32(3)
    matrix, _ = fit_motion(source, moved, "homography", SIZE)
    np.testing.assert_array_equal(matrix[2], (0, 0, 1))


def test_outliers_do_not_sway_the_fit() -> None:
    rng = np.random.default_rng(7)
    source = rng.uniform(0, 150, (120, 2)).astype(np.float32)
    moved = source + np.float32((6, -3))
    moved[:40] += rng.uniform(10, 40, (40, 2)).astype(np.float32)
    for model in ("translation", "similarity", "homography"):
        matrix, support = fit_motion(source, moved, model, SIZE)
        np.testing.assert_allclose(matrix[:2, 2], (6, -3), atol=0.3)
        assert 75 <= support <= 90


def test_points_that_vanish_are_not_called_good() -> None:
    first = cv2.cvtColor(texture(8, SIZE), cv2.COLOR_RGB2GRAY)
    second = first.copy()
    second[:, 80:] = 0
    points = np.array([[30, 60], [40, 50], [120, 60], [130, 40]], np.float32)
    moved, good = track_both_ways(first, second, points)
    assert good[:2].all()
    np.testing.assert_allclose(moved[:2], points[:2], atol=0.1)
    assert not good[2:].any()


def test_large_frames_are_measured_reduced_and_the_motion_is_of_the_full_size() -> None:
    world = cv2.resize(texture(9), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    first, second = world[100:700, 100:1300], world[100:700, 112:1312]
    nothing = np.zeros(first.shape[:2], bool)
    view = View.of(first, nothing)
    assert max(view.gray.shape) == 640
    motion, _ = refine_motion(view, View.of(second, nothing), np.eye(3), "homography")
    exact = np.array([[1, 0, -12.0], [0, 1, 0], [0, 0, 1]])
    assert largest_step(motion @ np.linalg.inv(exact), (1200, 600)) < 1.0
