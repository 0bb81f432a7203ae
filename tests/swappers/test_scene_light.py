"""How the cut-out's lightness follows the scene's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vswap_kernel.types import Masks, Video
from vswap_swappers.scene_light import SceneLight, exposure_gain, match_lightness, measure_light

NONE = np.zeros(1)


def light(lightness: float, contrast: float = 8.0) -> SceneLight:
    return SceneLight(NONE, NONE, NONE, lightness, contrast)


def cutout(low: float = 32.0, high: float = 48.0) -> np.ndarray:
    """Reddish, half at L* `low`, half at `high`: mean 40 and standard deviation 8 unless told; uint8 [20, 20, 4]."""
    lab = np.zeros((20, 20, 3), np.float32)
    lab[...] = (low, 20, 10)
    lab[:, 10:, 0] = high
    rgb = np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).astype(np.uint8)
    return np.dstack([rgb, np.full((20, 20), 255, np.uint8)])


def lab_of(rgba: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgba[..., :3].astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


@pytest.mark.parametrize(
    ("scene", "strength", "mean"), [(56, 0.5, 48), (50, 1, 50), (90, 1, 60), (90, 0.5, 50), (10, 0.25, 35)]
)
def test_the_mean_goes_towards_the_scene_s_by_20_of_lightness_at_most(scene, strength, mean) -> None:
    matched = lab_of(match_lightness(cutout(), light(scene), strength))
    assert matched[..., 0].mean() == pytest.approx(mean, abs=0.3)
    np.testing.assert_allclose(matched[..., 1:].mean((0, 1)), (20, 10), atol=0.5)


def test_the_spread_goes_half_as_far_towards_the_scene_s() -> None:
    matched = lab_of(match_lightness(cutout(), light(40, contrast=8 * 1.21), 1.0))
    assert matched[..., 0].std() == pytest.approx(8 * 1.1, abs=0.2)


def test_without_strength_and_without_anything_opaque_nothing_changes() -> None:
    clear = cutout() * np.array([1, 1, 1, 0], np.uint8)
    np.testing.assert_array_equal(match_lightness(cutout(), light(80), 0.0), cutout())
    np.testing.assert_array_equal(match_lightness(clear, light(80), 1.0), clear)


def test_the_gain_is_the_exposure_to_the_power_of_the_strength_within_bounds() -> None:
    measured = SceneLight(NONE, NONE, np.array([0.25, 0.81, 1.0, 1.44, 9.0]), 50.0, 10.0)
    np.testing.assert_allclose(exposure_gain(measured, 0.5), [1 / 1.6, 0.9, 1.0, 1.2, 1.6])
    np.testing.assert_allclose(exposure_gain(measured, 0.0), 1.0)


def test_size_place_exposure_and_surroundings_are_measured() -> None:
    frames, masks = np.full((61, 60, 80, 3), 119, np.uint8), np.zeros((61, 60, 80), np.uint8)
    masks[:, 10:30, 40:60] = 255
    masks[7] = 0
    for index in range(61):
        frames[index, 10:30, 40:60] = 70 + index
    measured = measure_light(Video(frames, 25.0), Masks(masks))
    assert measured.area[0] == 400
    assert measured.centre[0] == pytest.approx((49, 19), abs=0.5)
    assert measured.area[7] == 0
    assert np.isnan(measured.centre[7]).all()
    # a steady ramp, seen through a window that is symmetric but at the ends
    np.testing.assert_allclose(measured.exposure[20:41], (70 + np.arange(20, 41)) / 100, atol=0.01)
    assert 45 < measured.lightness < 50  # grey 119 is L* 50; the subject, darker for half of the clip, is among it


def test_noise_on_the_subject_is_not_taken_for_the_light() -> None:
    shade = np.random.default_rng(0).integers(80, 121, 60).astype(np.uint8)
    frames = np.broadcast_to(shade[:, None, None, None], (60, 16, 16, 3)).copy()
    exposure = measure_light(Video(frames, 25.0), Masks(np.full((60, 16, 16), 255, np.uint8))).exposure
    assert exposure.std() < 0.4 * (shade / 100).std()
