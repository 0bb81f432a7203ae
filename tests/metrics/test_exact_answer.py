"""The metric `exact-answer`, on folders of PNGs whose distance is worked out by hand."""

import math

import av
import numpy as np
import pytest

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import Masks, Measurement, PointTracks, SwapResult, Video
from vswap_metrics.exact_answer import ExactAnswer, preflight
from vswap_metrics.register import ExactAnswerOptions

FRAMES, HEIGHT, WIDTH = 3, 32, 40


def write_pngs(folder, pictures: np.ndarray):
    folder.mkdir()
    for index, picture in enumerate(pictures):
        layout = "rgb24" if picture.ndim == 3 else "gray"
        context = av.CodecContext.create("png", "w")
        context.height, context.width = picture.shape[:2]
        context.pix_fmt, context.time_base = layout, 1
        packets = context.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), layout))
        packets += context.encode(None)
        (folder / f"{index:05d}.png").write_bytes(b"".join(map(bytes, packets)))
    return folder


def measure(result: np.ndarray, subject: np.ndarray, options: ExactAnswerOptions, tmp_path) -> Measurement:
    none = np.zeros((len(result), 0), np.float32)
    targets = PointTracks((), np.zeros((len(result), 0, 2), np.float32), none.astype(bool), none, (WIDTH, HEIGHT))
    case = MetricCase(Video(result, 25.0), SwapResult(Video(result, 25.0), Masks(subject)), None, targets, None)
    return ExactAnswer(options, Context(tmp_path)).measure(case)


@pytest.fixture
def answer() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)


def boxes(left: int) -> np.ndarray:
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    masks[:, 10:20, left : left + 10] = 255
    return masks


def options_for(tmp_path, answer: np.ndarray, masks: np.ndarray | None) -> ExactAnswerOptions:
    video = write_pngs(tmp_path / "answer", answer)
    return ExactAnswerOptions(video=video, masks=None if masks is None else write_pngs(tmp_path / "masks", masks))


def test_the_answer_itself_is_perfect(answer, tmp_path):
    found = measure(answer, boxes(10), options_for(tmp_path, answer, boxes(10)), tmp_path)
    assert found.values == {"subject_psnr": 100.0, "subject_ssim": 1.0, "mask_iou": 1.0, "frame_psnr": 100.0}


def test_mask_iou_of_two_boxes_that_share_a_third_of_their_union(answer, tmp_path):
    found = measure(answer, boxes(15), options_for(tmp_path, answer, boxes(10)), tmp_path)
    assert found.values["mask_iou"] == pytest.approx(50 / 150)
    assert found.series["mask_iou"].tolist() == pytest.approx([50 / 150] * FRAMES)


def test_soft_edges_are_cut_at_half_coverage_for_iou(answer, tmp_path):
    soft = boxes(10)
    soft[:, 10:20, 20:25], soft[:, 10:20, 5:10] = 127, 128
    found = measure(answer, soft, options_for(tmp_path, answer, boxes(10)), tmp_path)
    assert found.values["mask_iou"] == pytest.approx(100 / 150)


def test_subject_psnr_is_taken_over_the_union_of_both_masks(answer, tmp_path):
    result = answer.copy()
    result[:, 10:20, 10:15] += 20
    found = measure(result, boxes(15), options_for(tmp_path, answer, boxes(10)), tmp_path)
    assert found.values["subject_psnr"] == pytest.approx(10 * math.log10(255**2 / (400 * 50 / 150)))
    assert found.values["frame_psnr"] == pytest.approx(10 * math.log10(255**2 / (400 * 50 / (HEIGHT * WIDTH))))


def test_what_is_wrong_outside_both_masks_leaves_the_subject_psnr_alone(answer, tmp_path):
    result = answer.copy()
    result[:, 25:, :] += 30
    found = measure(result, boxes(10), options_for(tmp_path, answer, boxes(10)), tmp_path)
    assert found.values["subject_psnr"] == 100.0
    assert found.values["frame_psnr"] < 40


def test_without_answer_masks_the_results_own_mask_says_where_and_there_is_no_iou(answer, tmp_path):
    result = answer.copy()
    result[:, 10:20, 10:20] += 10
    found = measure(result, boxes(10), options_for(tmp_path, answer, None), tmp_path)
    assert found.values["subject_psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert "mask_iou" not in found.values


def test_a_frame_without_any_subject_is_undefined(answer, tmp_path):
    masks = boxes(10)
    masks[1] = 0
    found = measure(answer, masks, options_for(tmp_path, answer, masks), tmp_path)
    for name in ("subject_psnr", "subject_ssim", "mask_iou"):
        assert np.isnan(found.series[name]).tolist() == [False, True, False]
    assert found.values["mask_iou"] == 1.0


def test_an_answer_of_another_length_is_refused_before_the_run(answer, tmp_path):
    options = options_for(tmp_path, answer, None)
    with pytest.raises(InputError, match=r"answer: it has 3 frames; give 5, one for each edited frame"):
        preflight(options, Facts(5, (WIDTH, HEIGHT), ()))
    preflight(options, Facts(FRAMES, (WIDTH, HEIGHT), ()))


def test_an_answer_of_another_size_is_refused_before_the_run(answer, tmp_path):
    options = options_for(tmp_path, answer, boxes(10)[:, :16])
    with pytest.raises(InputError, match=r"exact-answer\.masks: .*masks is 40x16, the result is 40x32"):
        preflight(options, Facts(FRAMES, (WIDTH, HEIGHT), ()))
