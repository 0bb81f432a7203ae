from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.testing.case import Case
from vswap_kernel.types import FloatArray, PointQueries, PointTracks, Video
from vswap_toybox.cases import CASES
from vswap_trackers.lucas_kanade import LucasKanade
from vswap_trackers.register import LucasKanadeOptions

cv2 = pytest.importorskip("cv2")


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip((blurred - 127) * 5 + 127, 0, 255).astype(np.uint8)


def panned(frames: int, step: tuple[int, int] = (3, 1), size: tuple[int, int] = (128, 96)) -> Video:
    """A texture that moves by `step` = (x, y) pixels a frame."""
    width, height = size
    big = texture(height + abs(step[1]) * frames, width + abs(step[0]) * frames)
    lefts = [(frames - 1 - t) * step[0] for t in range(frames)]
    tops = [(frames - 1 - t) * step[1] for t in range(frames)]
    return Video(np.stack([big[y : y + height, x : x + width] for x, y in zip(lefts, tops, strict=True)]), 25.0)


def queries(xy: list[tuple[float, float]], frame: int | list[int] = 0) -> PointQueries:
    numbers = np.full(len(xy), frame, np.int32) if isinstance(frame, int) else np.array(frame, np.int32)
    names = tuple(f"p{i}" for i in range(len(xy)))
    return PointQueries(names, numbers, np.array(xy, np.float32).reshape(-1, 2))


def track(video: Video, asked: PointQueries, **options: float) -> PointTracks:
    return LucasKanade(LucasKanadeOptions(**options), Context(Path())).track(video, asked)


def errors(case: Case) -> tuple[PointTracks, FloatArray]:
    found = track(case.video, case.queries)
    return found, np.linalg.norm(found.xy - case.tracks.xy, axis=2)


SPREAD = [(30.0, 20.0), (50.5, 40.25), (35.0, 55.0), (60.0, 25.0)]


def test_points_of_different_keyframes_are_carried_both_ways() -> None:
    asked = queries(SPREAD, [0, 5, 11, 5])
    found = track(panned(12), asked)
    steps = np.arange(12)[:, None, None] - asked.frame[:, None]
    truth = asked.xy + steps * np.array([3, 1])
    inside = (truth >= 0).all(2) & (truth <= np.array([127, 95])).all(2)
    assert np.linalg.norm(found.xy - truth, axis=2)[inside].max() < 0.3
    assert found.visible[inside].mean() > 0.95
    assert found.names == asked.names
    assert found.size == (128, 96)


def test_on_its_keyframe_a_point_is_exactly_where_it_was_set() -> None:
    asked = queries(SPREAD, [0, 5, 11, 5])
    found = track(panned(12), asked)
    every = np.arange(4)
    np.testing.assert_array_equal(found.xy[asked.frame, every], asked.xy)
    assert found.visible[asked.frame, every].all()
    np.testing.assert_array_equal(found.confidence[asked.frame, every], 1.0)


def test_steps_that_are_each_a_little_off_do_not_add_up_to_a_drift() -> None:
    big, frames = texture(300, 400), 60
    turned = [cv2.getRotationMatrix2D((104.0, 88.0), 0.5 * t, 1 + 0.004 * t) for t in range(frames)]
    maps = [matrix + np.array([[0, 0, 0.37 * t - 40], [0, 0, 0.23 * t - 40]]) for t, matrix in enumerate(turned)]
    pictures = [cv2.warpAffine(big, matrix, (128, 96), flags=cv2.INTER_CUBIC) for matrix in maps]
    asked = queries(SPREAD)
    found = track(Video(np.stack(pictures), 25.0), asked)
    still = (asked.xy - maps[0][:, 2]) @ np.linalg.inv(maps[0][:, :2]).T
    truth = still @ maps[-1][:, :2].T + maps[-1][:, 2]
    assert np.linalg.norm(found.xy[-1] - truth, axis=1).max() < 0.25


def test_points_that_leave_the_frame_are_not_visible_and_stay_finite() -> None:
    found = track(panned(20, (6, 0)), queries([(20.0, 30.0), (25.0, 60.0), (100.0, 45.0)]))
    outside = found.xy[..., 0] > 127.5
    assert outside[-1, 2]
    assert not found.visible[outside].any()
    assert np.isfinite(found.xy).all()
    assert found.confidence[-1, 2] < 0.5
    assert found.xy[-1, 2, 0] == pytest.approx(100 + 19 * 6, abs=4)


def test_a_covered_point_is_hidden_carried_on_and_found_again() -> None:
    video = panned(24, (2, 0))
    frames = video.frames.copy()
    cover = texture(34, 34, seed=9)
    for t in range(6, 14):
        x = 40 + 2 * t
        frames[t, 28:62, x - 17 : x + 17] = cover
    found = track(Video(frames, 25.0), queries([(40.0, 45.0), (20.0, 15.0), (70.0, 15.0), (20.0, 80.0), (70.0, 80.0)]))
    truth = 40 + 2 * np.arange(24)
    assert found.visible[:, 0].tolist() == [True] * 6 + [False] * 8 + [True] * 10
    assert np.abs(found.xy[:, 0, 0] - truth).max() < 1.0
    assert found.confidence[13, 0] < found.confidence[6, 0] < found.confidence[5, 0]


@pytest.mark.parametrize("name", ["translation", "scale", "camera-pan"])
def test_points_on_a_toybox_subject_stay_on_their_spot(name: str) -> None:
    _, error = errors(CASES[name]())
    assert np.median(error) < 1.0
    assert error.mean() < 1.5


def test_a_post_that_sweeps_past_does_not_take_the_points_along() -> None:
    found, error = errors(CASES["occlusion"]())
    visible = CASES["occlusion"]().tracks.visible
    assert np.median(error[-1]) < 3.0
    assert (found.visible == visible).mean() > 0.8


def test_one_frame_gives_the_queries_back() -> None:
    found = track(panned(1), queries(SPREAD))
    np.testing.assert_array_equal(found.xy[0], np.array(SPREAD, np.float32))
    assert found.visible.all()


def test_no_points_give_empty_tracks() -> None:
    found = track(panned(3), queries([]))
    assert found.xy.shape == (3, 0, 2)


def test_a_point_on_flat_ground_stays_finite() -> None:
    video = Video(np.full((6, 48, 64, 3), 90, np.uint8), 25.0)
    found = track(video, queries([(30.0, 20.0), (63.0, 47.0)], [0, 5]))
    assert np.isfinite(found.xy).all()


def test_a_thousand_points_are_tracked_together() -> None:
    video = panned(4)
    xy = np.random.default_rng(0).uniform((10, 10), (100, 80), (1000, 2))
    found = track(video, queries([(float(x), float(y)) for x, y in xy]))
    error = np.linalg.norm(found.xy[-1] - (xy + np.array([9, 3])), axis=1)
    assert np.quantile(error, 0.98) < 0.3


def test_tracking_twice_gives_the_same_bytes() -> None:
    video, asked = panned(8), queries(SPREAD, [0, 3, 7, 3])
    assert track(video, asked).digest() == track(video, asked).digest()


def test_a_keyframe_beyond_the_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"point 'p1': keyframe 3 is beyond the end; the video has 3 frames"):
        track(panned(3), queries([(1.0, 2.0), (3.0, 4.0)], [0, 3]))


def test_the_video_and_the_queries_are_left_as_they_were() -> None:
    video, asked = panned(5), queries(SPREAD)
    before = video.digest(), asked.digest()
    track(video, asked)
    assert (video.digest(), asked.digest()) == before


def test_real_joints_are_followed_better_than_standing_still(shared: Path) -> None:
    import json

    clip = shared / "clips" / "bear"
    data = json.loads((clip / "points_badja_240p.json").read_text())
    first, last = data["frames"][0], data["frames"][6]
    files = sorted((clip / "frames").glob("*.jpg"))[first : last + 1]
    video = Video(np.stack([cv2.imread(str(file))[..., ::-1] for file in files]), 24.0)
    start, end = data["xy"][0], data["xy"][6]
    both = [i for i in range(len(start)) if start[i] and end[i]]
    found = track(video, queries([tuple(start[i]) for i in both]))
    truth = np.array([end[i] for i in both])
    moved = np.linalg.norm(found.xy[0] - truth, axis=1)
    missed = np.linalg.norm(found.xy[-1] - truth, axis=1)
    assert np.median(missed) < 0.5 * np.median(moved)
