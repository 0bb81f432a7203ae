from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from small_network import write_mean
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, Masks, PointQueries, Video

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

from vswap_masks.components import follow_subject, label_parts
from vswap_masks.register import U2NetOptions
from vswap_masks.u2net import U2Net, preflight


def queries(*xy: tuple[float, float], frame: int = 0) -> PointQueries:
    names = tuple(map(str, range(len(xy))))
    return PointQueries(names, np.full(len(xy), frame, np.int32), np.array(xy, np.float32).reshape(-1, 2))


def squares(*centres: tuple[int, int], half: int = 6) -> BoolArray:
    mask = np.zeros((60, 100), bool)
    for x, y in centres:
        mask[max(0, y - half) : y + half, max(0, x - half) : x + half] = True
    return mask


def follow(masks: list[BoolArray], points: PointQueries) -> list[BoolArray]:
    kept = follow_subject(masks.__getitem__, len(masks), points, lambda _: None)
    return [np.isin(label_parts(mask), labels) for mask, labels in zip(masks, kept, strict=True)]


def test_the_part_with_the_points_is_followed_both_ways_and_others_are_dropped() -> None:
    moving = [(20 + 4 * t, 30) for t in range(10)]
    other = [(90 - t, 10) for t in range(10)]
    masks = [squares(a, b) for a, b in zip(moving, other, strict=True)]
    for keyframe in (0, 4, 9):
        found = follow(masks, queries((float(moving[keyframe][0]), 30.0), frame=keyframe))
        for subject, place in zip(found, moving, strict=True):
            np.testing.assert_array_equal(subject, squares(place))


def test_all_parts_that_hold_points_are_kept() -> None:
    masks = [squares((20, 20), (50, 40), (80, 20))] * 3
    found = follow(masks, queries((20.0, 20.0), (50.0, 40.0)))
    assert all((subject == squares((20, 20), (50, 40))).all() for subject in found)


def test_a_point_just_beside_the_subject_takes_the_nearest_part() -> None:
    found = follow([squares((30, 30), (80, 30))], queries((40.0, 30.0)))
    np.testing.assert_array_equal(found[0], squares((30, 30)))


def test_a_subject_that_vanishes_for_some_frames_is_taken_up_again() -> None:
    masks = [squares((30, 30), (80, 30))] * 2 + [squares((80, 30))] * 3 + [squares((33, 30), (80, 30))] * 2
    found = follow(masks, queries((30.0, 30.0)))
    assert [bool(subject.any()) for subject in found] == [True] * 2 + [False] * 3 + [True] * 2
    np.testing.assert_array_equal(found[-1], squares((33, 30)))


def test_a_subject_that_falls_into_parts_keeps_them() -> None:
    whole, split = squares((40, 30), half=14), squares((40, 30), half=14)
    split[:, 39:42] = False
    found = follow([whole, split, split], queries((35.0, 30.0)))
    np.testing.assert_array_equal(found[2], split)


def test_what_is_no_model_is_refused_while_planning(tmp_path: Path) -> None:
    wrong = tmp_path / "model.onnx"
    wrong.write_text("no model")
    facts = Facts(1, (64, 48), ())
    with pytest.raises(InputError, match=r"model\.onnx: not a usable ONNX model"):
        preflight(U2NetOptions(model=wrong), facts)
    preflight(U2NetOptions(model=write_mean(tmp_path / "mean.onnx")), facts)


def test_the_colours_are_normalised_as_the_options_say(tmp_path: Path) -> None:
    picture = np.repeat(np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], np.uint8), 2, axis=1).repeat(4, axis=0)
    model = write_mean(tmp_path / "mean.onnx")

    def found(normalisation: str) -> list[bool]:
        # red is 1/3 of the way from black to white as IS-Net sees it, 0.3291 as ImageNet's deviations have it
        options = {"threshold": 0.331, "keep": "all", "grow": 0, "feather": 0, "normalisation": normalisation}
        masks = segment(tmp_path / normalisation, model, Video(picture[None], 24.0), queries(), **options)
        return list(masks.frames[0, 0] > 0)

    assert found("isnet") == [False, False, True, True, True, True]
    assert found("imagenet") == [False, False, False, False, True, True]


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    path = shared / "weights" / "u2netp.onnx"
    if not path.is_file():
        pytest.skip(f"no weights at {path}")
    return path


@pytest.fixture(scope="module")
def swan(shared: Path) -> tuple[Video, NDArray[np.bool_]]:
    clip = shared / "clips" / "blackswan"
    frames = [cv2.imread(str(file))[..., ::-1] for file in sorted((clip / "frames").glob("*.jpg"))[:20:5]]
    truth = [
        cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127 for file in sorted((clip / "masks").glob("*.png"))[:20:5]
    ]
    return Video(np.stack(frames), 24.0), np.stack(truth)


def segment(scratch: Path, weights: Path, video: Video, points: PointQueries, **options: object) -> Masks:
    scratch.mkdir()
    chosen = U2NetOptions.model_validate({"model": weights} | options)
    return U2Net(chosen, Context(scratch)).segment(video, points)


def test_a_real_swan_is_found_and_again_with_the_same_bytes(
    tmp_path: Path, weights: Path, swan: tuple[Video, NDArray[np.bool_]]
) -> None:
    video, truth = swan
    down, across = np.nonzero(truth[0])
    points = queries((float(np.median(across)), float(np.median(down))))
    found = segment(tmp_path / "a", weights, video, points, grow=0, feather=0)
    subject = found.frames > 0
    overlap = (subject & truth).sum((1, 2)) / (subject | truth).sum((1, 2))
    assert overlap.min() > 0.85
    assert segment(tmp_path / "b", weights, video, points, grow=0, feather=0).digest() == found.digest()


def test_points_far_from_anything_found_are_an_error(
    tmp_path: Path, weights: Path, swan: tuple[Video, NDArray[np.bool_]]
) -> None:
    video = Video(swan[0].frames[:1], 24.0)
    with pytest.raises(InputError, match="sees no subject at the points on frame 0"):
        segment(tmp_path / "a", weights, video, queries((425.0, 2.0)))
    assert segment(tmp_path / "b", weights, video, queries((425.0, 2.0)), keep="all").frames.any()
