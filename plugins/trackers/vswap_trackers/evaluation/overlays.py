"""Contact strips: a few frames of a clip with the true places, the found ones, and a line for the error between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import ByteArray, FloatArray, PointTracks, Video
from vswap_trackers.evaluation.metrics import SIDE
from vswap_trackers.evaluation.truth import Questions, Truth

TRUE, GOOD, BAD = (255, 255, 255), (40, 220, 90), (255, 50, 50)
"""Inks: a visible true place; a found one near it; one that is far from it, or told to be visible where it is not."""
HIDDEN, UNKNOWN = (60, 150, 255), (255, 210, 40)
"""Inks: a found place told to be hidden; one told to be visible in a frame of which the truth says nothing."""
FAR = 8
"""Pixels of a 256 x 256 frame from which an error is drawn as bad where there are no masks."""
_FAR_SHARE = 0.2  # of the square root of the mask's area, where there are
_COLUMNS, _ROWS, _GAP, _WIDE, _MOST = 4, 2, 2, 320, 64


def strip(video: Video, truth: Truth, questions: Questions, found: PointTracks) -> ByteArray:
    """Eight frames, uint8 [H, W, 3], spread over those in which something is known; up to 64 points of them.

    A ring is a visible true place, a dot the found one (a blue ring where it is told to be hidden), with a line from
    the true to the found place.
    """
    first = int(questions.queries.frame.min()) if len(questions.point) else 0
    told = np.flatnonzero(truth.known.any(axis=1) & (np.arange(len(video)) >= first))
    frames = told if len(told) > 1 else np.arange(len(video))
    chosen = frames[np.linspace(0, len(frames) - 1, min(_COLUMNS * _ROWS, len(frames))).round().astype(int)]
    count = len(questions.point)
    shown = np.linspace(0, count - 1, min(count, _MOST)).round().astype(int)
    pictures = [_drawn(video.frames[t], int(t), shown, truth, questions, found) for t in chosen]
    blank = np.full_like(pictures[0], 90)
    pictures += [blank] * (-len(pictures) % _COLUMNS if len(pictures) > _COLUMNS else 0)
    padded = [np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0))) for picture in pictures]
    rows = [np.concatenate(padded[i : i + _COLUMNS], axis=1) for i in range(0, len(padded), _COLUMNS)]
    return np.concatenate(rows)


def _drawn(
    frame: ByteArray, t: int, shown: NDArray[np.intp], truth: Truth, questions: Questions, found: PointTracks
) -> ByteArray:
    """One frame, enlarged by a whole number where it is small."""
    times = max(1, -(-_WIDE // frame.shape[1]))
    picture = np.asarray(frame).repeat(times, axis=0).repeat(times, axis=1)
    point = questions.point[shown]
    true_at, found_at = ((xy + 0.5) * times - 0.5 for xy in (truth.xy[t, point], found.xy[t, shown]))
    known, seen, told = truth.known[t, point], truth.visible[t, point], found.visible[t, shown]
    far = _is_far(truth, found, t, point, shown)
    for mask, ink in ((seen & ~far, GOOD), (seen & far, BAD)):
        _stamp(picture, _segments(true_at[mask], found_at[mask]), _disc(0.8), ink)
    _stamp(picture, true_at[seen], _ring(4.0, 6.0), (0, 0, 0))
    _stamp(picture, true_at[seen], _ring(4.4, 5.6), TRUE)
    wrong = known & (far | ~seen)
    for mask, ink in ((told & ~known, UNKNOWN), (told & known & ~wrong, GOOD), (told & wrong, BAD)):
        _stamp(picture, found_at[mask], _disc(3.4), (0, 0, 0))
        _stamp(picture, found_at[mask], _disc(2.4), ink)
    _stamp(picture, found_at[~told], _ring(1.6, 3.2), HIDDEN)
    return picture


def _is_far(
    truth: Truth, found: PointTracks, t: int, point: NDArray[np.intp], shown: NDArray[np.intp]
) -> NDArray[np.bool_]:
    away = found.xy[t, shown] - truth.xy[t, point]
    if truth.areas is not None:
        return np.asarray(np.linalg.norm(away, axis=1) > _FAR_SHARE * np.sqrt(truth.areas[t]))
    return np.asarray(np.linalg.norm(away * (SIDE / np.array(truth.size)), axis=1) >= FAR)


def _segments(start: FloatArray, end: FloatArray) -> FloatArray:
    """Places [K, 2] along the lines from start [N, 2] to end [N, 2], at most a pixel apart."""
    if not len(start):
        return start
    steps = int(min(np.abs(end - start).max(), 4096.0)) + 2
    share = np.linspace(0.0, 1.0, steps)[:, None, None]
    return np.asarray(start + share * (end - start)).reshape(-1, 2)


def _disc(radius: float) -> NDArray[np.intp]:
    return _ring(-1.0, radius)


def _ring(inner: float, outer: float) -> NDArray[np.intp]:
    """Offsets (x, y) of pixels [K, 2] more than `inner` and at most `outer` from the middle."""
    reach = int(outer) + 1
    across, down = np.meshgrid(*[np.arange(-reach, reach + 1)] * 2)
    distance = np.hypot(across, down)
    return np.argwhere((distance > inner) & (distance <= outer))[:, ::-1] - reach


def _stamp(picture: ByteArray, places: FloatArray, offsets: NDArray[np.intp], ink: tuple[int, int, int]) -> None:
    """Paint the pixels at `offsets` [K, 2] around each of `places` [N, 2] that are inside the picture."""
    height, width = picture.shape[:2]
    clipped = np.clip(places, -99, (width + 99, height + 99)).round().astype(int)
    x, y = (clipped[:, None] + offsets).reshape(-1, 2).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    picture[y[inside], x[inside]] = ink
