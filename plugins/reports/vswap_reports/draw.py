"""Named points drawn on a frame, for checking a points file by eye."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vswap_kernel.encode import write_png
from vswap_kernel.points import check_points, read_points
from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_kernel.video import Selection, open_source, read_frames, working_size
from vswap_reports.labels import place_labels, point_colours

_READABLE_WIDTH = 960
_RADIUS = 6
_SCALE, _THICKNESS = 0.55, 1


def draw_points_file(points: Path, video: Path, out: Path) -> None:
    """Draw a points file on its keyframe of a whole, unscaled video, and write a PNG.

    Raises:
        InputError: either can't be read, they don't fit each other, or `out` can't be written.
    """
    source = open_source(video)
    selection = Selection()
    queries = check_points(read_points(points), working_size(source, selection), source.frames)
    keyframe = int(queries.frame[0])
    frame = next(read_frames(source, Selection(start=keyframe, frames=1), 1))[0]
    write_png(out, draw_points(frame, queries.names, queries.xy))


def draw_points(frame: ByteArray, names: Sequence[str], xy: FloatArray, visible: BoolArray | None = None) -> ByteArray:
    """A copy of `frame` with a disc on each point (a ring where it is hidden), and its name beside it.

    Small frames are enlarged by a whole factor, so that labels can be read. Labels need OpenCV; without it there are
    discs only.

    Args:
        frame: uint8 [H, W, 3] RGB.
        names: N. xy: float32 [N, 2] in pixels of `frame`. visible: bool [N]; None: all of them.

    Returns:
        uint8 [factor H, factor W, 3]
    """
    factor = max(1, round(_READABLE_WIDTH / frame.shape[1]))
    picture = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    places = (np.asarray(xy, np.float32) + 0.5) * factor - 0.5
    shown = np.ones(len(names), np.bool_) if visible is None else visible
    for place, colour, seen in zip(places, point_colours(len(names)), shown, strict=True):
        _disc(picture, place, (0, 0, 0), _RADIUS + 2.0, 0.0 if seen else _RADIUS - 4.0)
        _disc(picture, place, colour, _RADIUS, 0.0 if seen else _RADIUS - 2.0)
    if find_spec("cv2") and names:
        _write_names(picture, names, places)
    return picture


def _disc(picture: ByteArray, centre: FloatArray, colour: tuple[int, int, int], radius: float, hole: float) -> None:
    """Blend a disc, or a ring around `hole` pixels, into `picture`, with soft edges."""
    reach = int(radius) + 2
    left, top = (max(0, int(value) - reach) for value in centre)
    part = picture[top : max(0, int(centre[1]) + reach + 1), left : max(0, int(centre[0]) + reach + 1)]
    y, x = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    distance = np.hypot(x - centre[0], y - centre[1])
    cover = np.clip(radius + 0.5 - distance, 0, 1) * (np.clip(distance - hole + 0.5, 0, 1) if hole > 0 else 1)
    part[:] = np.round(part + cover[..., None] * (np.array(colour) - part))


def _write_names(picture: ByteArray, names: Sequence[str], places: FloatArray) -> None:
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    sizes = [cv2.getTextSize(name, font, _SCALE, _THICKNESS)[0] for name in names]
    height = max(tall for _, tall in sizes) + 6
    limit = (picture.shape[1], picture.shape[0])
    corners = place_labels(places, [wide + 6 for wide, _ in sizes], height, limit, _RADIUS + 5)
    for name, (left, top), colour in zip(names, corners, point_colours(len(names)), strict=True):
        start = (round(left) + 3, round(top) + height - 4)
        letters = np.zeros(picture.shape[:2], np.uint8)
        cv2.putText(letters, name, start, font, _SCALE, (255,), _THICKNESS, cv2.LINE_AA)
        rim = cv2.dilate(letters, np.ones((5, 5), np.uint8))
        for cover, ink in ((rim, (0, 0, 0)), (letters, colour)):
            share = cover[..., None] / np.float32(255)
            picture[:] = np.round(picture + share * (np.array(ink, np.float32) - picture))
