"""The size at which a video is tracked, and colours around points."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2")

from vswap_trackers.looks import Looks
from vswap_trackers.working_size import WorkingSize

SIZE = (160, 120)
AS_IS = WorkingSize(SIZE, SIZE)


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2.0) - 127) * 5 + 127, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "short_side", "scaled"),
    [
        ((428, 240), 240, (428, 240)),
        ((854, 480), 240, (427, 240)),
        ((240, 428), 240, (240, 428)),
        ((128, 96), 240, (320, 240)),
        ((320, 200), 240, (320, 200)),  # less than a quarter off: as it is
        ((400, 300), 240, (400, 300)),
        ((404, 303), 240, (320, 240)),
        ((4000, 100), 32, (1280, 32)),
    ],
)
def test_the_shorter_side_is_scaled_unless_it_is_nearly_that(size, short_side, scaled) -> None:
    assert WorkingSize.of(size, short_side) == WorkingSize(size, scaled)


def test_places_go_there_and_back_and_pixel_centres_are_kept() -> None:
    working = WorkingSize((100, 50), (200, 100))
    np.testing.assert_allclose(working.into(np.array([[0.0, 0.0], [99.0, 49.0]])), [[0.5, 0.5], [198.5, 98.5]])
    xy = np.random.default_rng(0).uniform(-20, 120, (7, 3, 2)).astype(np.float32)
    np.testing.assert_allclose(
        WorkingSize((321, 243), (210, 160)).back(WorkingSize((321, 243), (210, 160)).into(xy)), xy, atol=1e-4
    )


@pytest.mark.parametrize("scaled", [(80, 60), SIZE, (320, 240)])
def test_a_spot_is_found_where_its_place_is_scaled_to(scaled: tuple[int, int]) -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(picture, (101, 37), 4, (255, 255, 255), -1)
    frame = WorkingSize(SIZE, scaled).prepared(picture)
    assert frame.grey.shape == (scaled[1], scaled[0])
    assert frame.colour.shape == (scaled[1], scaled[0], 3)
    y, x = np.indices(frame.grey.shape)
    centre = np.array([(grid * frame.grey).sum() / frame.grey.sum(dtype=float) for grid in (x, y)])
    np.testing.assert_allclose(centre, WorkingSize(SIZE, scaled).into(np.array([101.0, 37.0])), atol=0.15)


def looked() -> tuple[Looks, NDArray[np.float32], NDArray[np.float32]]:
    colour = AS_IS.prepared(texture(120, 160)).colour
    xy, linear = np.array([[50.0, 40.0], [100.0, 70.0]], np.float32), np.tile(np.eye(2, dtype=np.float32), (2, 1, 1))
    looks = Looks(2)
    looks.learn(colour, xy, linear, np.array([True, True]))
    return looks, colour, linear


def test_a_point_is_like_itself_and_unlike_another_place() -> None:
    looks, colour, linear = looked()
    xy = np.array([[50.0, 40.0], [100.0, 70.0]], np.float32)
    found = looks.unlike(colour, np.stack([xy, xy[::-1]]), linear)
    np.testing.assert_allclose(found[0], 0, atol=0.01)
    assert found[1].min() > 10


def test_the_recent_look_follows_slowly_and_the_first_one_is_kept() -> None:
    looks, colour, linear = looked()
    xy, both = np.array([[50.0, 40.0], [100.0, 70.0]], np.float32), np.array([True, True])
    darker = (colour * 0.5).astype(np.float32)
    before = looks.unlike(darker, xy[None], linear)[0]
    looks.follow(darker, xy, linear, np.array([True, False]))
    after = looks.unlike(darker, xy[None], linear)[0]
    np.testing.assert_allclose(after, [0.8 * before[0], before[1]], rtol=1e-3)
    for _ in range(30):
        looks.follow(darker, xy, linear, both)
    assert looks.unlike(darker, xy[None], linear).max() < 0.1
    assert looks.unlike(colour, xy[None], linear).max() < 0.1
