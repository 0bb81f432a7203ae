"""Contact sheets: a row of source frames above the same frames of the answer, with the points drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vswap_kernel.types import ByteArray, PointTracks, Video
from vswap_toybox.clip import Clip

_INK = np.array(
    [[255, 40, 40], [40, 90, 255], [255, 230, 40], [40, 220, 90], [255, 120, 230], [255, 255, 255]], np.uint8
)
_GAP = 2


def contact_rows(clip: Clip, *, columns: int = 8) -> tuple[ByteArray, ByteArray]:
    """Source and answer, each uint8 [H, W, 3], at `columns` frames spread evenly over the clip.

    A visible point is a filled square in its own colour; a hidden one (occluded, or outside) is left out.
    """
    source = _row(clip.video, clip.tracks, columns)
    return source, _row(clip.answer.video, clip.answer_tracks, columns)


def stack_rows(rows: Sequence[ByteArray]) -> ByteArray:
    """One picture of rows that may differ in width."""
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _row(video: Video, tracks: PointTracks, columns: int) -> ByteArray:
    picked = np.linspace(0, len(video) - 1, min(columns, len(video))).round().astype(int)
    pictures = [np.pad(_dotted(video.frames[i], tracks, i), ((0, _GAP), (0, _GAP), (0, 0))) for i in picked]
    return np.concatenate(pictures, 1)


def _dotted(frame: ByteArray, tracks: PointTracks, index: int) -> ByteArray:
    picture = frame.copy()
    radius = max(1, min(tracks.size) // 64)
    for number in np.flatnonzero(tracks.visible[index]):
        x, y = tracks.xy[index, number].round().astype(int)
        for reach, ink in ((radius + 1, np.zeros(3, np.uint8)), (radius, _INK[number % len(_INK)])):
            picture[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = ink
    return picture
