"""Points found again by the keyframe's surroundings, after all of them were hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_kernel.api import Context
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.register import DisFlowOptions

cv2 = pytest.importorskip("cv2")

from vswap_trackers.dis_flow import DisFlow
from vswap_trackers.support_points import Corners, SupportPoints

SIZE, FRAMES, SHIFT = (160, 96), 44, (12, 4)
AT = [(60.0, 40.0), (72.0, 52.0), (66.0, 60.0)]


def texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2.0) - 127) * 4 + 127, 0, 255).astype(np.uint8)


def behind_a_bar() -> Video:
    """A patch of fur in front of a wall; a bar passes from left to right, and moves the patch on while it is hidden."""
    wall, subject = texture(96, 160, 1) // 3, texture(48, 40, 2) // 2 + 110
    bar, pictures = texture(96, 56, 3) // 8, []
    for t in range(FRAMES):
        left = -60 + 5 * t
        across, down = SHIFT if t >= 24 else (0, 0)
        picture = wall.copy()
        picture[24 + down : 72 + down, 46 + across : 86 + across] = subject
        shown = slice(max(left, 0), min(max(left + 56, 0), 160))
        picture[:, shown] = bar[:, shown.start - left : shown.stop - left]
        pictures.append(picture)
    return Video(np.stack(pictures), 25.0)


def asked(xy: list[tuple[float, float]]) -> PointQueries:
    names = tuple(f"p{i}" for i in range(len(xy)))
    return PointQueries(names, np.zeros(len(xy), np.int32), np.array(xy, np.float32).reshape(-1, 2))


def track(video: Video, queries: PointQueries) -> PointTracks:
    return DisFlow(DisFlowOptions(short_side=96), Context(Path())).track(video, queries)


def test_points_that_were_all_hidden_at_once_come_back_where_their_subject_is() -> None:
    found = track(behind_a_bar(), asked(AT))
    error = np.linalg.norm(found.xy[-1] - np.array(AT) - SHIFT, axis=1)
    assert error.max() < 1.0
    assert found.visible[-1].all()
    # one of them may pass for seen on the bar's edge
    assert found.visible[24].sum() <= 1


def test_only_the_points_asked_for_are_in_the_answer_and_twice_the_same() -> None:
    video, queries = behind_a_bar(), asked(AT)
    first = track(video, queries)
    assert first.names == queries.names
    assert first.xy.shape == (FRAMES, len(AT), 2)
    assert first.digest() == track(video, queries).digest()


def test_no_points_and_no_texture_are_no_trouble() -> None:
    assert track(behind_a_bar(), asked([])).xy.shape == (FRAMES, 0, 2)
    flat = np.full((96, 160), 90, np.uint8)
    support = SupportPoints(flat, np.array(AT, np.float32))
    support.learn(Corners.of(flat), np.array(AT, np.float32), np.ones(len(AT), bool))
    assert support.guesses(Corners.of(flat)) == []


def test_a_shifted_picture_is_found_wherever_it_went() -> None:
    wide = cv2.cvtColor(texture(120, 200, 4), cv2.COLOR_RGB2GRAY)
    queries = np.array([(60.0, 40.0), (90.0, 60.0)], np.float32)
    support = SupportPoints(wide[:96, :160], queries)
    moved = np.ascontiguousarray(wide[20:116, 31:191])
    guess = support.guesses(Corners.of(moved))[0]
    np.testing.assert_allclose(guess.xy, queries - [31, 20], atol=0.3)
    assert (support.proof(moved, guess, np.arange(2)) > 2.0).all()
