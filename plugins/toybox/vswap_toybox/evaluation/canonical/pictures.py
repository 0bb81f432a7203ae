"""A row of a clip's frames with the drags as arrows: from each point to where it is moved to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import ByteArray, FloatArray
from vswap_toybox.clip import Clip
from vswap_toybox.evaluation.canonical.drags import Drags
from vswap_toybox.evaluation.canonical.figures import Carried, distances
from vswap_toybox.evaluation.sheets import in_a_row, spread

FAR = 1.5
"""Pixels of a subject 64 px long from which a carried drag is drawn as wrong; in proportion for others."""
TRUE, GOOD, BAD, HIDDEN = (255, 255, 255), (40, 220, 90), (255, 50, 50), (60, 150, 255)
_WIDE = 256  # frames are enlarged by whole numbers to at least this width
_HEAD = 7.0  # of an arrow, in pixels of the enlarged frame
_LINE, _EDGE = 2.0, 2.0  # width of an arrow, and of the dark line around it
Ink = tuple[int, int, int]


def drawn(clip: Clip, drags: Drags, carried: Carried | None = None) -> ByteArray:
    """Eight frames in a row, uint8 [H, W, 3]; the keyframe takes the place of the nearest.

    Without `carried`, white arrows: the truth, where a point is visible. With it, its own arrows over thinner white
    ones: green, red where it is FAR off or says to be valid where the point is hidden, blue where it says not to be.
    """
    shown = spread(len(clip.video))
    shown[np.abs(shown - clip.keyframe).argmin()] = clip.keyframe
    return in_a_row(np.stack([_frame(clip, drags, carried, int(t)) for t in shown]))


def _frame(clip: Clip, drags: Drags, carried: Carried | None, t: int) -> ByteArray:
    frame = np.asarray(clip.video.frames[t])
    times = max(1, -(-_WIDE // frame.shape[1]))
    canvas = frame.repeat(times, 0).repeat(times, 1).astype(np.float32)
    start = clip.tracks.subset(drags.moves).xy[t]
    seen, inks = drags.visible[t], _inks(clip, drags, carried, t)
    for i, ink in enumerate(inks):
        base, true = _enlarged(start[i], times), _enlarged(start[i] + drags.delta[t, i], times)
        if seen[i]:
            _arrow(canvas, base, true, TRUE, _LINE if carried is None else _LINE / 2)
        if carried is not None:
            _arrow(canvas, base, _enlarged(start[i] + carried.delta[t, i], times), ink, _LINE)
    return canvas.round().astype(np.uint8)


def _inks(clip: Clip, drags: Drags, carried: Carried | None, t: int) -> list[Ink]:
    if carried is None:
        return [TRUE] * len(drags.moves)
    far = distances(drags, carried.delta)[t] > FAR * min(clip.size) / 128
    wrong, told = far | ~drags.visible[t], carried.valid[t]
    return [(BAD if bad else GOOD) if valid else HIDDEN for bad, valid in zip(wrong, told, strict=True)]


def _enlarged(place: FloatArray, times: int) -> NDArray[np.float64]:
    return (place.astype(np.float64) + 0.5) * times - 0.5


def _arrow(canvas: FloatArray, start: NDArray[np.float64], end: NDArray[np.float64], ink: Ink, line: float) -> None:
    """Draw into float32 [H, W, 3] in place."""
    along = end - start
    length = float(np.hypot(*along))
    back = -along / max(length, 1e-9) * min(_HEAD, length / 2)
    barbs = [end + np.array([back[0] - side * back[1], back[1] + side * back[0]]) for side in (0.6, -0.6)]
    segments = [(start, end), *((end, barb) for barb in barbs)]
    for width, colour in ((line + _EDGE, (0, 0, 0)), (line, ink)):
        _strokes(canvas, segments, width, colour)


def _strokes(
    canvas: FloatArray, segments: list[tuple[NDArray[np.float64], NDArray[np.float64]]], width: float, ink: Ink
) -> None:
    ends = np.array(segments).reshape(-1, 2)
    low = np.maximum(np.floor(ends.min(0) - width), 0).astype(int)
    high = np.minimum(np.ceil(ends.max(0) + width), np.array(canvas.shape[1::-1]) - 1).astype(int)
    if (high < low).any():
        return
    y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    away = np.min([_from_segment(x, y, *segment) for segment in segments], axis=0)
    cover = np.clip(width / 2 + 0.5 - away, 0, 1)[..., None]
    part = canvas[low[1] : high[1] + 1, low[0] : high[0] + 1]
    part += cover * (np.array(ink) - part)


def _from_segment(
    x: NDArray[np.intp], y: NDArray[np.intp], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of pixels (x, y) from a line between two places."""
    step = end - start
    share = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) / max(float(step @ step), 1e-9)
    share = share.clip(0, 1)
    return np.asarray(np.hypot(x - start[0] - share * step[0], y - start[1] - share * step[1]))
