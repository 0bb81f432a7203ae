"""The metric `temporal`: steady, moving and flickering pictures whose order is known."""

import math

import cv2
import numpy as np
import pytest

from vswap_kernel.api import Context, NoOptions
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import Masks, Measurement, PointTracks, SwapResult, Video
from vswap_metrics.temporal import Comparison, Temporal

FRAMES, HEIGHT, WIDTH = 6, 72, 96


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT + 40, WIDTH + 40, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def panned(step: int) -> np.ndarray:
    picture = texture()
    return np.stack([picture[5 : 5 + HEIGHT, 5 + step * t : 5 + step * t + WIDTH] for t in range(FRAMES)])


def measure(source: np.ndarray, result: np.ndarray, subject: np.ndarray | None, tmp_path) -> Measurement:
    if subject is None:
        subject = np.zeros(result.shape[:3], np.uint8)
    none = np.zeros((len(source), 0), np.float32)
    targets = PointTracks((), np.zeros((len(source), 0, 2), np.float32), none.astype(bool), none, (WIDTH, HEIGHT))
    case = MetricCase(Video(source, 25.0), SwapResult(Video(result, 25.0), Masks(subject)), None, targets, None)
    return Temporal(NoOptions(), Context(tmp_path)).measure(case)


def test_a_still_video_has_no_error_and_its_ratio_is_undefined(tmp_path):
    still = np.repeat(panned(0)[:1], FRAMES, axis=0)
    found = measure(still, still, None, tmp_path)
    assert found.values["temporal_error"] == 0
    assert found.values["temporal_checked"] == 1
    assert math.isnan(found.values["temporal_ratio"])


def test_a_steady_pan_is_explained_by_flow_where_the_plain_difference_is_large(tmp_path):
    pan = panned(3)
    found = measure(pan, pan, None, tmp_path)
    plain = np.abs(np.diff(pan.astype(int), axis=0)).mean()
    assert found.values["temporal_error"] < plain / 5
    assert found.values["temporal_checked"] > 0.8
    assert found.values["temporal_ratio"] == 1


def test_flicker_of_known_size_on_a_still_video_is_the_error(tmp_path):
    still = np.clip(np.repeat(panned(0)[:1], FRAMES, axis=0), 10, 240)
    flicker = still.copy()
    flicker[1::2] += 4
    found = measure(still, flicker, None, tmp_path)
    assert found.values["temporal_error"] == pytest.approx(4, abs=0.4)
    assert found.series["temporal_error"][1:] == pytest.approx([4] * (FRAMES - 1), abs=0.5)
    assert found.values["temporal_error_source"] == 0


def test_a_result_that_flickers_is_worse_than_its_source(tmp_path):
    pan = panned(2)
    flicker = np.clip(pan.astype(int) + np.random.default_rng(3).integers(-12, 13, pan.shape), 0, 255).astype(np.uint8)
    found = measure(pan, flicker, None, tmp_path)
    assert found.values["temporal_ratio"] > 2
    assert found.values["temporal_error_source"] == measure(pan, pan, None, tmp_path).values["temporal_error"]


def test_error_in_the_subject_is_told_apart_from_the_rest(tmp_path):
    still = np.clip(np.repeat(panned(0)[:1], FRAMES, axis=0), 10, 240)
    flicker, subject = still.copy(), np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    flicker[1::2, 20:50, 30:70] += 6
    subject[:, 20:50, 30:70] = 255
    found = measure(still, flicker, subject, tmp_path)
    assert found.values["temporal_subject"] > 4 * found.values["temporal_error"]


def test_the_first_frame_and_frames_without_a_subject_are_undefined(tmp_path):
    pan, subject = panned(1), np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    subject[3] = 255
    found = measure(pan, pan, subject, tmp_path)
    assert np.isnan(found.series["temporal_error"]).tolist() == [True] + [False] * (FRAMES - 1)
    assert np.isnan(found.series["temporal_subject"]).tolist() == [True, True, True, False, True, True]


def test_one_frame_has_nothing_to_compare(tmp_path):
    found = measure(panned(0)[:1], panned(0)[:1], None, tmp_path)
    assert all(math.isnan(value) for value in found.values.values())


def test_what_comes_into_view_from_behind_a_moving_block_is_not_compared():
    scene, block = (cv2.resize(texture(seed), None, fx=2.5, fy=2.5) for seed in (0, 7))
    before, now = scene[:200, :300].copy(), scene[:200, :300].copy()
    before[50:150, 50:170] = now[50:150, 62:182] = block[:100, :120]
    difference, compared = Comparison()(before, now)
    revealed = np.zeros(compared.shape, bool)
    revealed[50:150, 50:62] = True
    assert compared[revealed].mean() < 0.4
    assert compared[~revealed].mean() > 0.9
    assert difference[compared].mean() < difference.mean() / 2


def test_the_same_input_gives_the_same_numbers_on_one_thread_and_on_several(tmp_path):
    pan, threads = panned(2), cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        first = measure(pan, pan[::-1].copy(), None, tmp_path)
        cv2.setNumThreads(4)
        second = measure(pan, pan[::-1].copy(), None, tmp_path)
    finally:
        cv2.setNumThreads(threads)
    assert first.digest() == second.digest()
