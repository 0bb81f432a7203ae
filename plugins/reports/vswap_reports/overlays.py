"""Points and mask outlines over a frame, as the numbers that an inline SVG needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray, Masks, PointTracks, Video
from vswap_reports.labels import place_labels, point_colours
from vswap_reports.media import fitted, picture_uri, scaled

_LETTER = 0.62  # width of a letter over the font's size, in the common sans-serif fonts


@dataclass(frozen=True)
class Mark:
    """One point in the picture's pixels: hollow where it is hidden. label_x and label_y are those of the baseline."""

    name: str
    x: str
    y: str
    colour: str
    visible: bool
    label_x: str = ""
    label_y: str = ""


@dataclass(frozen=True)
class Picture:
    """A frame with what is drawn over it. outline is SVG path data, "" for none."""

    uri: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    outline: str
    caption: str


class Overlay:
    """Draws the frames of one video: its points, its masks, always in the same colours.

    Args:
        colours: "#rrggbb" by point name.
        width: of the pictures. Larger frames are shrunk to it; smaller ones are embedded as they are, and drawn that
            wide, for marks and names must be legible on them too.
    """

    def __init__(
        self, video: Video, points: PointTracks | None, masks: Masks | None, colours: Mapping[str, str], width: int
    ) -> None:
        self._video, self._points, self._masks, self._colours = video, points, masks, colours
        self._embedded = fitted(video.size, width)
        self._size = (width, max(1, round(self._embedded[1] * width / self._embedded[0])))

    def picture(self, frame: int, caption: str, font: int = 0, keep_clear: FloatArray | None = None) -> Picture:
        """Frame `frame`; with names beside the points where `font` gives the size of their letters. They hide, if that
        can be, none of the places `keep_clear` float32 [M, 2] of the picture."""
        width, height = self._size
        outline = "" if self._masks is None else mask_outline(scaled(self._masks.frames[frame], self._size) >= 128)
        uri = picture_uri(scaled(self._video.frames[frame], self._embedded))
        return Picture(uri, width, height, self._marks(frame, font, keep_clear), outline, caption)

    def places(self, points: PointTracks, frame: int) -> FloatArray:
        """Where `points` are in the picture of frame `frame`, pixel edges at integers: float32 [N, 2]."""
        scale = np.array(self._size, np.float32) / np.array(self._video.size, np.float32)
        places: FloatArray = (points.xy[frame] + np.float32(0.5)) * scale
        return places

    def _marks(self, frame: int, font: int, keep_clear: FloatArray | None) -> tuple[Mark, ...]:
        if self._points is None:
            return ()
        places = self.places(self._points, frame)
        names, visible = self._points.names, self._points.visible[frame].tolist()
        corners: list[tuple[float, float]] = [(0.0, 0.0)] * len(names)
        if font:
            widths = [_LETTER * font * len(name) for name in names]
            corners = place_labels(places, widths, font * 1.1, self._size, font * 0.75, keep_clear)
        return tuple(
            Mark(name, f"{x:.1f}", f"{y:.1f}", self._colours[name], seen, f"{left:.1f}", f"{top + font * 0.9:.1f}")
            for name, (x, y), seen, (left, top) in zip(names, places.tolist(), visible, corners, strict=True)
        )


def name_colours(*tracks: PointTracks | None) -> dict[str, str]:
    """A colour "#rrggbb" for every name in `tracks`."""
    names = list(dict.fromkeys(name for track in tracks if track is not None for name in track.names))
    hexes = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in point_colours(len(names))]
    return dict(zip(names, hexes, strict=True))


def mask_outline(mask: BoolArray) -> str:
    """The edges between the pixels inside and outside `mask` bool [H, W], as SVG path data; "" for an empty one."""
    padded = np.pad(mask, 1)
    upright = _runs((padded[:, 1:] != padded[:, :-1])[1:-1].T)
    level = _runs((padded[1:] != padded[:-1])[:, 1:-1])
    parts = [f"M{x} {y}v{length}" for x, y, length in upright] + [f"M{x} {y}h{length}" for y, x, length in level]
    return "".join(parts)


def _runs(edges: BoolArray) -> list[list[int]]:
    """Runs of True along the rows of bool [N, L]: [row, start, length] each."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, stops = np.nonzero(steps == -1)
    runs: list[list[int]] = np.stack([rows, starts, stops - starts], axis=1).tolist()
    return runs
