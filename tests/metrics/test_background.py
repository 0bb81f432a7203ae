"""The metric `background`, on cases worked out by hand."""

import math

import numpy as np
import pytest

from vswap_kernel.api import Context, NoOptions
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import Masks, Measurement, PointTracks, SwapResult, Video
from vswap_metrics.background import Background
from vswap_metrics.quality import ssim_map, whole_windows, windows_within

FRAMES, HEIGHT, WIDTH = 3, 40, 48


def no_points(frames: int) -> PointTracks:
    nothing = np.zeros((frames, 0), np.float32)
    return PointTracks((), np.zeros((frames, 0, 2), np.float32), nothing.astype(bool), nothing, (WIDTH, HEIGHT))


def case_of(source: np.ndarray, result: np.ndarray, old: np.ndarray | None, new: np.ndarray) -> MetricCase:
    swap = SwapResult(Video(result, 25.0), Masks(new))
    return MetricCase(Video(source, 25.0), swap, None if old is None else Masks(old), no_points(len(source)), None)


def measure(case: MetricCase, tmp_path) -> Measurement:
    return Background(NoOptions(), Context(tmp_path)).measure(case)


@pytest.fixture
def source() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def empty() -> np.ndarray:
    return np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)


def test_identical_backgrounds_give_the_cap_and_an_ssim_of_one(source, empty, tmp_path):
    found = measure(case_of(source, source.copy(), empty, empty), tmp_path)
    assert found.values == {"background_psnr": 100.0, "background_ssim": 1.0, "background_changed": 0.0}
    assert found.series["background_psnr"].tolist() == [100.0] * FRAMES
    assert found.series["background_ssim"].tolist() == [1.0] * FRAMES


@pytest.mark.parametrize("offset", [1, 7, 55])
def test_a_constant_offset_gives_20_log10_255_over_the_offset(source, empty, tmp_path, offset):
    found = measure(case_of(source, source + np.uint8(offset), empty, empty), tmp_path)
    assert found.values["background_psnr"] == pytest.approx(20 * math.log10(255 / offset))
    assert found.values["background_changed"] == 1.0


def test_overall_psnr_comes_from_the_total_error_and_not_from_a_mean_of_decibels(source, empty, tmp_path):
    result = source.copy()
    result[0] += 6
    found = measure(case_of(source, result, empty, empty), tmp_path)
    assert found.values["background_psnr"] == pytest.approx(10 * math.log10(255**2 / (36 / FRAMES)))
    assert found.series["background_psnr"].tolist() == pytest.approx([20 * math.log10(255 / 6), 100, 100])


@pytest.mark.parametrize("which", ["old", "new"])
def test_what_lies_under_either_mask_does_not_count_not_even_under_its_soft_edge(source, empty, tmp_path, which):
    mask, result = empty.copy(), source.copy()
    mask[:, 10:20, 10:20] = 1
    result[:, 10:20, 10:20] = 255
    masks = (mask, empty) if which == "old" else (empty, mask)
    found = measure(case_of(source, result, *masks), tmp_path)
    assert found.values == {"background_psnr": 100.0, "background_ssim": 1.0, "background_changed": 0.0}


def test_one_pixel_in_one_channel_is_a_changed_pixel(source, empty, tmp_path):
    result = source.copy()
    result[1, 3, 4, 2] += 10
    found = measure(case_of(source, result, empty, empty), tmp_path)
    assert found.values["background_changed"] == pytest.approx(1 / (FRAMES * HEIGHT * WIDTH))
    mean_squared_error = 100 / (FRAMES * HEIGHT * WIDTH * 3)
    assert found.values["background_psnr"] == pytest.approx(10 * math.log10(255**2 / mean_squared_error))


def test_without_source_masks_only_the_new_subject_is_left_out(source, empty, tmp_path):
    result, new = source.copy(), empty.copy()
    result[:, 10:20, 10:20] = 255
    new[:, 10:15, 10:20] = 255
    changed = measure(case_of(source, result, None, new), tmp_path).values["background_changed"]
    assert changed == pytest.approx(50 / (HEIGHT * WIDTH - 50))


def test_a_frame_that_is_all_subject_is_undefined_and_does_not_spoil_the_rest(source, empty, tmp_path):
    new = empty.copy()
    new[1] = 255
    found = measure(case_of(source, source + np.uint8(5), empty, new), tmp_path)
    assert np.isnan(found.series["background_psnr"]).tolist() == [False, True, False]
    assert np.isnan(found.series["background_ssim"]).tolist() == [False, True, False]
    assert found.values["background_psnr"] == pytest.approx(20 * math.log10(255 / 5))


def test_no_background_at_all_is_nan_and_null_in_json(source, empty, tmp_path):
    found = measure(case_of(source, source.copy(), empty + np.uint8(255), empty), tmp_path)
    assert all(math.isnan(value) for value in found.values.values())
    assert set(found.as_json()["values"].values()) == {None}


def test_ssim_map_agrees_with_the_formula_written_out_pixel_by_pixel():
    random = np.random.default_rng(1)
    first = random.integers(0, 256, (17, 19, 3), dtype=np.uint8)
    second = np.clip(first.astype(int) + random.integers(-60, 60, first.shape), 0, 255).astype(np.uint8)
    x, y = (image.astype(float) @ (0.299, 0.587, 0.114) for image in (first, second))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    found = ssim_map(first, second)
    for row, column in [(5, 5), (8, 9), (11, 13)]:
        a, b = (image[row - 5 : row + 6, column - 5 : column + 6] for image in (x, y))
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        expected = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        expected /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
        assert found[row, column] == pytest.approx(expected, abs=1e-4)


def test_ssim_windows_never_reach_into_a_mask_or_over_the_edge():
    region = np.ones((40, 48), bool)
    region[20, 24] = False
    windows = windows_within(region)
    assert not windows[15:26, 19:30].any()
    expected = whole_windows(region.shape)
    expected[15:26, 19:30] = False
    np.testing.assert_array_equal(windows, expected)
    assert whole_windows(region.shape).sum() == 30 * 38


def test_reading_in_chunks_changes_nothing_and_inputs_stay_as_they_were(tmp_path):
    random = np.random.default_rng(2)
    source = random.integers(0, 200, (37, 24, 24, 3), dtype=np.uint8)
    result, empty = source.copy(), np.zeros((37, 24, 24), np.uint8)
    result[20] += 9
    before = source.copy(), result.copy()
    found = measure(case_of(source, result, empty, empty), tmp_path)
    expected = np.full(37, 100.0)
    expected[20] = 20 * math.log10(255 / 9)
    np.testing.assert_allclose(found.series["background_psnr"], expected, rtol=1e-6)
    np.testing.assert_array_equal(source, before[0])
    np.testing.assert_array_equal(result, before[1])
