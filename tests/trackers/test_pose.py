"""ViTPose and RT-DETR by their real classes, tiny: with random weights, or set by hand to find coloured spots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from joint_cases import out_of_frame
from tiny_vitpose import colour_vitpose, random_detector, random_vitpose
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.options_models import PoseOptions
from vswap_trackers.pose import Pose, box_of_points, followed, next_box
from vswap_trackers.pose_joints import preflight
from vswap_trackers.pose_network import PersonDetector, peaks

NAMES = ("nose", "left_eye", "right_eye")
"""Those that the network finds where it is red, green and blue."""
CORNERS = np.array([[60.0, 40.0], [100.0, 60.0], [70.0, 110.0]])
STEP = np.array([2.0, 1.0])


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_vitpose(tmp_path_factory.mktemp("vitpose"))


def places(frames: int, scale: Any = 1.0) -> Any:
    """Where the spots are: they move by STEP a frame."""
    grown = np.broadcast_to(np.asarray(scale, float), (frames,))[:, None, None]
    return (CORNERS - CORNERS[0]) * grown + CORNERS[0] + np.arange(frames)[:, None, None] * STEP


def spots(xy: Any, without: dict[int, int] | None = None, size: tuple[int, int] = (240, 200)) -> Video:
    """A soft spot of each colour at xy [T, 3, 2]; `without`: by frame, the one that is not there."""
    across, down = np.arange(size[0]), np.arange(size[1])[:, None]
    frames = np.zeros((len(xy), size[1], size[0], 3), np.uint8)
    for t, three in enumerate(xy):
        for colour, (x, y) in enumerate(three):
            if (without or {}).get(t) != colour:
                frames[t, ..., colour] = 255 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / 400)
    return Video(frames, 25.0)


def asked(xy: Any, frame: int = 0, names: tuple[str, ...] = NAMES) -> PointQueries:
    return PointQueries(names, np.full(len(names), frame, np.int32), np.array(xy, np.float32).reshape(-1, 2))


def track(weights: Path, video: Video, queries: PointQueries, **options: Any) -> PointTracks:
    values = PoseOptions.model_validate({"weights": weights, **options})
    return Pose(values, Context(Path())).track(video, queries)


@pytest.mark.parametrize(
    # the network sees squares of 8 pixels of its own, which are 4 or 12 of the frame's
    ("options", "worst"),
    [({"box": "follow"}, 2.0), ({"box": "follow", "batch": 1}, 2.0), ({"box": "frame"}, 6.0)],
)
@pytest.mark.parametrize("keyframe", [0, 7, 14])
def test_joints_are_found_in_every_frame_from_any_keyframe(
    colours: Path, keyframe: int, options: Any, worst: float
) -> None:
    xy = places(15)
    found = track(colours, spots(xy), asked(xy[keyframe], keyframe), **options)
    error = np.linalg.norm(found.xy - xy, axis=2)
    assert error.max() < worst
    assert np.median(error) < worst / 2
    assert found.visible.all()
    np.testing.assert_array_equal(found.xy[keyframe], xy[keyframe].astype(np.float32))


def test_the_offset_of_a_query_from_its_joint_grows_with_the_person(colours: Path) -> None:
    xy = places(12, np.linspace(1.0, 1.6, 12))
    beside = np.array([0.0, 12.0])
    found = track(colours, spots(xy), asked(xy[0] + beside), batch=2)
    offset = (found.xy - xy)[..., 1].mean(axis=1)
    assert offset[0] == pytest.approx(12.0, abs=1e-3)
    assert offset[-1] == pytest.approx(12.0 * 1.6, abs=2.5)


def test_a_joint_that_is_not_seen_is_hidden_and_lies_between(colours: Path) -> None:
    xy = places(12)
    found = track(colours, spots(xy, without={5: 1, 6: 1}), asked(xy[0]))
    assert found.visible[:, 1].tolist() == [t not in (5, 6) for t in range(12)]
    assert np.linalg.norm(found.xy - xy, axis=2).max() < 2.0
    assert found.confidence[5, 1] < 0.3 < found.confidence[4, 1]


def test_names_that_are_no_joints_are_told_before_the_run(colours: Path) -> None:
    with pytest.raises(InputError, match=r"point 'tail' is none of COCO's joints; .*left_ankle, left_ear"):
        preflight(PoseOptions(weights=colours), Facts(8, (64, 48), ("nose", "tail")))
    with pytest.raises(InputError, match=r"point 'left_sholder' .*did you mean 'left_shoulder'"):
        track(colours, spots(places(2)), asked([(1, 1)], names=("left_sholder",)))


def test_the_preflight_tells_models_of_another_kind(colours: Path, tmp_path: Path) -> None:
    preflight(PoseOptions(weights=colours), Facts(8, (64, 48), NAMES))
    with pytest.raises(InputError, match=r"tracker\.weights: .* is a model of type 'rt_detr', expected vitpose"):
        preflight(PoseOptions(weights=random_detector(tmp_path)), Facts(8, (64, 48), NAMES))


def test_a_model_of_other_joints_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a model of 14 joints; expected COCO's 17"):
        track(random_vitpose(tmp_path, labels=14), spots(places(2)), asked(CORNERS))


def test_networks_with_experts_are_asked_for_the_one_of_coco(tmp_path: Path) -> None:
    found = track(random_vitpose(tmp_path, experts=2), spots(places(3)), asked(CORNERS))
    assert np.isfinite(found.xy).all()


def test_no_points_load_no_model(tmp_path: Path) -> None:
    assert track(tmp_path, spots(places(2)), asked([], names=())).xy.shape == (2, 0, 2)


def test_repeated_runs_answer_the_same_bytes(tmp_path: Path) -> None:
    weights, video = random_vitpose(tmp_path), spots(places(5))
    assert track(weights, video, asked(CORNERS)).digest() == track(weights, video, asked(CORNERS)).digest()


def test_a_detector_runs_by_its_real_class(colours: Path, tmp_path: Path) -> None:
    detector, video = random_detector(tmp_path / "detector"), spots(places(5))
    boxes, scores = PersonDetector(detector, "cpu").persons(video.frames)
    assert boxes.shape == (5, 12, 4)
    assert scores.shape == (5, 12)
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    # an untrained detector is sure of nobody, so that the points' own box stays
    found = track(colours, video, asked(places(5)[0]), box="detector", detector=detector)
    assert np.linalg.norm(found.xy - places(5), axis=2).max() < 2.0


def test_a_detector_without_persons_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a detector without the class person"):
        PersonDetector(random_detector(tmp_path, ("cat", "dog")), "cpu")


def test_a_detector_is_given_when_it_is_asked_for(colours: Path) -> None:
    with pytest.raises(ValueError, match="give the folder of an RT-DETR model"):
        PoseOptions(weights=colours, box="detector")


def test_a_person_that_leaves_is_hidden_at_the_border_and_found_again_after_coming_back(colours: Path) -> None:
    case = out_of_frame()
    found = track(colours, case.video, case.queries, batch=1)
    truth = case.tracks.visible
    assert not truth[14].any()
    assert not found.visible[~truth].any()
    assert found.visible[-5:].all()
    assert np.linalg.norm(found.xy - case.tracks.xy, axis=2)[-5:].max() < 4.0


def test_the_box_doesnt_collapse_onto_joints_heaped_at_the_border_and_widens_while_nobody_is_seen() -> None:
    before = np.array([80.0, 20.0, 120.0, 80.0], np.float32)
    heap = np.repeat(np.array([[119.0, 50.0]], np.float32), 3, axis=0)
    small = next_box(heap, before, before, 0.25, (240, 180))
    np.testing.assert_allclose(small, [109, 35, 129, 65])
    nobody = np.zeros((0, 2), np.float32)
    np.testing.assert_allclose(next_box(nobody, small, before, 0.25, (240, 180)), [79, -10, 159, 110])
    np.testing.assert_allclose(next_box(heap[:1], small, before, 0.25, (240, 180)), [79, -10, 159, 110])
    np.testing.assert_allclose(next_box(nobody, 3 * before, before, 0.25, (240, 180)), [-0.5, -0.5, 239.5, 179.5])


def test_the_box_of_the_same_person_is_followed_past_others() -> None:
    me = np.array([[10, 10, 30, 60], [14, 10, 34, 60], [18, 10, 38, 60]], np.float32)
    other = np.array([[80, 10, 100, 60], [60, 10, 80, 60], [40, 10, 60, 60]], np.float32)
    boxes, scores = np.stack([other, me], axis=1), np.tile(np.array([0.9, 0.5], np.float32), (3, 1))
    np.testing.assert_array_equal(followed(boxes, scores, me[0]), me)
    scores[1, 1] = 0.1
    np.testing.assert_array_equal(followed(boxes, scores, me[0]), me[[0, 0, 2]])


def test_a_box_grows_on_each_side_and_is_the_frame_for_too_few_points() -> None:
    three = np.array([[0, 0], [10, 20], [5, 5]], np.float32)
    assert box_of_points(three, 0.5, (64, 48)).tolist() == [-5, -10, 15, 30]
    assert box_of_points(three[:2], 0.5, (64, 48)).tolist() == [-0.5, -0.5, 63.5, 47.5]


def test_peaks_of_gaussians_are_found_to_a_fraction_of_a_cell() -> None:
    at = np.random.default_rng(0).uniform(5, 25, (4, 3, 2))
    across, down = np.arange(32), np.arange(30)[:, None]
    square = (across - at[..., 0, None, None]) ** 2 + (down - at[..., 1, None, None]) ** 2
    places_, values = peaks(np.exp(-square / (2 * 2.0**2)).astype(np.float32))
    np.testing.assert_allclose(places_, at, atol=0.05)
    assert values.min() > 0.8
