"""Checks of trackers: the shape of what they answer, and how near it is to the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks.checking import check, expect
from vswap_kernel.types import PointQueries, PointTracks, Video

TRACKING_ERROR = 4.0  # px, mean over where a point is visible both in truth and by the tracker
EDGE = 2.0  # px that a point must be outside before the kit calls it out of the frame


@check("tracker")
def check_tracker_shape(make: Maker, case: Case, scratch: Path) -> None:
    """Names, length, size and confidence are right, and each point is exact and visible on its keyframe."""
    expect_fit(make.answer(case, scratch), case)


@check("tracker", once=True)
def check_tracker_extremes(make: Maker, case: Case, scratch: Path) -> None:
    """The same for a video of one frame, and for no points."""
    frame = int(case.queries.frame[0])
    there = np.flatnonzero(case.queries.frame == frame)
    names = tuple(case.queries.names[point] for point in there)
    queries = PointQueries(names, np.zeros(len(there), np.int32), case.queries.xy[there])
    one = replace(case, video=Video(case.video.frames[frame : frame + 1], case.video.fps), queries=queries)
    nothing = PointQueries((), np.zeros(0, np.int32), np.zeros((0, 2), np.float32))
    for asked in (
        replace(one, tracks=_still(queries, 1, case.video.size)),
        replace(case, queries=nothing, tracks=case.tracks.subset(())),
    ):
        expect_fit(make.answer(asked, scratch), asked)


@check("tracker", once=True, any_points=True)
def check_tracker_thousand_points(make: Maker, case: Case, scratch: Path) -> None:
    """The same for a thousand points, anywhere on a frame."""
    xy = np.random.default_rng(0).random((1000, 2), np.float32) * (np.array(case.video.size, np.float32) - 1)
    queries = PointQueries(tuple(map(str, range(1000))), np.zeros(1000, np.int32), xy)
    # where they go nobody knows: trackers that need tracks are given points that stand still
    asked = replace(case, queries=queries, tracks=_still(queries, len(case.video), case.video.size))
    expect_fit(make.answer(asked, scratch), asked)


@check("tracker")
def check_tracker_accuracy(make: Maker, case: Case, scratch: Path) -> None:
    """At least half of what is truly visible is called visible, and that is near the truth."""
    _expect_near(make.answer(case, scratch), case)


@check("tracker")
def check_tracker_any_keyframe(make: Maker, case: Case, scratch: Path) -> None:
    """The same when each point has its own keyframe, the middle of the frames in which it is seen."""
    seen = np.flatnonzero(case.tracks.visible.any(0))
    names = tuple(case.tracks.names[point] for point in seen)
    keyframes = np.array([np.flatnonzero(x)[x.sum() // 2] for x in case.tracks.visible.T[seen]], np.int32)
    asked = replace(case, queries=PointQueries(names, keyframes, case.tracks.xy[keyframes, seen]))
    tracks = make.answer(asked, scratch)
    expect_fit(tracks, asked)
    _expect_near(tracks, asked)


@check("tracker")
def check_tracker_hidden(make: Maker, case: Case, scratch: Path) -> None:
    """Never visible out of the frame, by its own positions or by the truth; behind something, at most half the time."""
    tracks, out = make.answer(case, scratch), _outside(case.tracks, EDGE)
    for whose, outside in (("own", _outside(tracks, 0)), ("true", out)):
        wrong = [f"{tracks.names[point]!r} at frame {frame}" for frame, point in np.argwhere(tracks.visible & outside)]
        expect(case, not wrong, f"no point called visible where its {whose} position is out of the frame", wrong[:3])
    hidden = tracks.visible[~case.tracks.visible & ~out]
    expect(case, hidden.sum() <= hidden.size / 2, f"half of {hidden.size} hidden positions seen at most", hidden.sum())


def expect_fit(tracks: PointTracks, case: Case) -> None:
    """Raise AssertionError unless the tracks are of the case's queries, frames and size, and exact on keyframes."""
    queries, video, number = case.queries, case.video, np.arange(len(case.queries.names))
    wanted, got = (len(video), video.size, queries.names), (len(tracks), tracks.size, tracks.names)
    expect(case, wanted == got, f"(frames, (width, height), names) {wanted!s:.200}", f"{got!s:.200}")
    confidence = tracks.confidence[(tracks.confidence < 0) | (tracks.confidence > 1)]
    expect(case, not confidence.size, "confidence in 0..1", confidence[:3])
    start = tracks.xy[queries.frame, number]
    exact = f"points on their keyframes exactly at {queries.xy[:9].tolist()}"
    expect(case, np.array_equal(start, queries.xy), exact, start[:9].tolist())
    expect(case, tracks.visible[queries.frame, number].all(), "every point visible on its keyframe", "some hidden")


def _expect_near(tracks: PointTracks, case: Case) -> None:
    truth = case.tracks.subset(case.queries.names)
    both, share = truth.visible & tracks.visible, tracks.visible[truth.visible].mean()
    error = np.where(both, np.linalg.norm(tracks.xy - truth.xy, axis=-1), 0)
    frame, point = np.unravel_index(error.argmax(), error.shape)
    mean = error.sum() / both.sum()
    got = f"{mean:.2f} px (worst: {truth.names[point]!r} at frame {frame}, {error.max():.1f} px)"
    expect(case, mean <= TRACKING_ERROR, f"a mean error of at most {TRACKING_ERROR} px", got)
    expect(case, share >= 0.5, "half of the visible points called visible, at least", f"{share:.0%}")


def _still(queries: PointQueries, frames: int, size: tuple[int, int]) -> PointTracks:
    xy = np.tile(queries.xy, (frames, 1, 1))
    return PointTracks(queries.names, xy, np.ones(xy.shape[:2], bool), np.ones(xy.shape[:2], np.float32), size)


def _outside(tracks: PointTracks, margin: float) -> Any:
    return ((tracks.xy < -0.5 - margin) | (tracks.xy > np.array(tracks.size) - 0.5 + margin)).any(-1)
