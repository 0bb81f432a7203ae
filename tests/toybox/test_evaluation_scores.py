from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vswap_kernel.registry import Registry
from vswap_kernel.types import PointTracks, Video
from vswap_toybox.clip import Clip
from vswap_toybox.evaluation.pointing import PointFinder, Search
from vswap_toybox.evaluation.scoring import FIGURES, Judge, overlap
from vswap_toybox.evaluation.suites import suite_clip
from vswap_toybox.motion import Motion
from vswap_toybox.rendering import render
from vswap_toybox.subject import Subject
from vswap_toybox.writing import write_clip

UNIT = 48  # pixels in a unit of the picture, at 96x96
Judged = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def made() -> Clip:
    return suite_clip("toybox/same-shape", 1, 2)


@pytest.fixture(scope="module")
def judge(made: Clip, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("clip")
    write_clip(made, folder)
    return Judge(made, folder, Registry.discover())


@pytest.fixture
def judged(made: Clip, judge: Judge) -> Judged:
    """The figures of a rendering with another subject or motion."""

    def call(subject: Subject | None = None, motion: Motion | None = None) -> dict[str, float]:
        frames = render(subject or made.target, made.scene, motion or made.motion, made.size).frames
        return judge.figures(Video(frames, 12.0))

    return call


def moved(motion: Motion, pixels: float) -> Motion:
    return replace(motion, x=(motion.x + pixels / UNIT).astype(np.float32))


def test_the_exact_answer_is_perfect_in_every_figure(judged: Judged):
    assert judged() == {
        "subject_psnr": 100,
        "subject_ssim": pytest.approx(1, abs=1e-5),
        "mask_iou": 1,
        "point_error_px": 0,
        "background_psnr": 100,
        "temporal": 1,
        "identity": pytest.approx(1, abs=1e-5),
    }
    assert [*judged(), "seconds"] == list(FIGURES)


@pytest.mark.parametrize("pixels", [2, 5, -8])
def test_a_subject_beside_its_place_has_that_point_error_and_its_own_identity(
    judged: Judged, made: Clip, pixels: float
):
    found = judged(motion=moved(made.motion, pixels))
    assert found["point_error_px"] == pytest.approx(abs(pixels), abs=0.1)
    assert found["identity"] > 0.95
    assert found["mask_iou"] < 0.9
    assert found["background_psnr"] < 40
    assert found["subject_psnr"] < 25


def test_a_subject_in_other_paint_is_in_its_place_and_not_itself(judged: Judged, made: Clip):
    found = judged(subject=made.subject)
    assert found["point_error_px"] < 1
    assert found["mask_iou"] > 0.8
    assert found["background_psnr"] == 100
    assert found["identity"] < 0.7
    assert found["subject_psnr"] < 15


def test_identity_sees_a_wrong_pattern_and_a_wrong_colour_each(judged: Judged, made: Clip):
    other = "plain" if made.target.pattern == "striped" else "striped"
    pattern = judged(subject=replace(made.target, pattern=other))["identity"]
    tint = judged(subject=replace(made.target, tint=(made.target.tint[0] - 0.3, 0.0, 0.0)))["identity"]
    assert 0.4 < pattern < 0.95
    assert 0.4 < tint < 0.95


def test_a_result_without_any_subject_is_found_to_have_none(judge: Judge, made: Clip):
    found = judge.figures(made.background())
    assert found["mask_iou"] == found["identity"] == 0
    assert found["point_error_px"] > 8
    assert found["background_psnr"] == 100


def test_flicker_raises_temporal_and_a_changed_ground_lowers_the_background(judge: Judge, made: Clip):
    frames = made.answer.video.frames.copy()
    frames[::2] = np.clip(frames[::2].astype(int) + 12, 0, 255)
    found = judge.figures(Video(frames, 12.0))
    assert found["temporal"] > 2
    assert 20 < found["background_psnr"] < 40
    assert found["point_error_px"] == 0


@pytest.mark.parametrize("suite", ["toybox/shape-change", "toybox/occlusion", "toybox/camera"])
def test_points_are_found_in_noise_and_blur_in_every_suite(suite: str):
    made = suite_clip(suite, 3, 1)
    answer = made.answer.video.frames
    finder = PointFinder(answer, made.answer.subject.frames, made.answer_tracks)
    assert finder.landmark.sum() > 0.9 * made.answer_tracks.visible.sum()
    noise = np.random.default_rng(0).normal(0, 15, answer.shape)
    blurred = np.mean([np.roll(answer, shift, axis) for axis in (1, 2) for shift in (-1, 0, 1)], 0)
    for worse in (answer + noise, blurred):
        assert np.nanmean(finder.errors(np.clip(worse, 0, 255).astype(np.uint8))) < 0.2


def test_hidden_points_and_points_on_a_plain_surface_are_left_out():
    frames = np.full((1, 96, 96, 3), 200, np.uint8)
    masks = np.zeros((1, 96, 96), np.uint8)
    frames[:, 20:80, 20:80], masks[:, 20:80, 20:80] = (200, 30, 30), 255
    xy = np.array([[[50, 50], [20, 20], [79, 79]]], np.float32)
    visible = np.array([[True, True, False]])
    tracks = PointTracks(("middle", "corner", "hidden"), xy, visible, visible.astype(np.float32), (96, 96))
    finder = PointFinder(frames, masks, tracks)
    assert finder.landmark.tolist() == [[False, True, False]]
    assert np.isnan(finder.errors(frames)).tolist() == [[True, False, True]]


def test_a_point_found_nowhere_counts_as_the_radius_of_the_search():
    frames = np.full((1, 96, 96, 3), 200, np.uint8)
    empty, masks = frames.copy(), np.zeros((1, 96, 96), np.uint8)
    frames[:, 40:60, 40:60], masks[:, 40:60, 40:60] = (200, 30, 30), 255
    seen = np.ones((1, 1), np.bool_)
    tracks = PointTracks(("corner",), np.full((1, 1, 2), 40, np.float32), seen, seen.astype(np.float32), (96, 96))
    error = PointFinder(frames, masks, tracks).errors(empty)
    assert error.item() == Search.of((96, 96)).radius == 12


def test_overlap_of_two_empty_masks_is_whole():
    empty = np.zeros((2, 3, 3), np.bool_)
    assert overlap(empty, empty) == 1
    assert overlap(empty, ~empty) == 0
