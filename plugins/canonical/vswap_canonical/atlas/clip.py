"""What a layered atlas is fitted to: frames at a working size, which pixels are the subject, and the flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from vswap_canonical.flow_pairs import Between, FlowPairs, flow_pairs
from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, Masks, PointTracks, Video

_AROUND = 9
"""Pixels, the side of the square in which there has to be texture."""
_PLAIN = 2.0
"""Squared levels (of 255) per pixel of slope that are half to be believed."""


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames of a clip.

    Attributes:
        frames: uint8 [T, h, w, 3].
        subject: bool [T, h, w].
        flow: between neighbouring frames.
        factor: float32 [2], working size over the video's, of (x, y).
        tracks: float32 [T, N, 2], the tracked points.
        visible: bool [T, N].
    """

    frames: ByteArray
    subject: BoolArray
    flow: FlowPairs
    factor: FloatArray
    tracks: FloatArray
    visible: BoolArray

    @property
    def inner(self) -> BoolArray:
        """bool [T, h, w]: the subject less its edge, where two motions meet."""
        shrunk = [cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) for mask in self.subject]
        return np.asarray(np.stack(shrunk) > 0)

    @property
    def behind(self) -> BoolArray:
        """bool [T, h, w]: what isn't subject, less its edge."""
        grown = [cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) for mask in self.subject]
        return np.asarray(np.stack(grown) == 0)

    def texture(self, frame: int) -> FloatArray:
        """float32 [h, w] in 0..1: how much the flow can be believed. Plain paint, and an edge along itself, could have
        moved otherwise (the smaller eigenvalue of the structure tensor: Shi & Tomasi, "Good features to track", CVPR
        1994)."""
        grey = cv2.cvtColor(self.frames[frame], cv2.COLOR_RGB2GRAY).astype(np.float32)
        x, y = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
        xx, yy, xy = (cv2.boxFilter(product, -1, (_AROUND, _AROUND)) for product in (x * x, y * y, x * y))
        least = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        return np.asarray(least / (least + _PLAIN), np.float32)


def working_clip(
    video: Video,
    masks: Masks | None,
    tracks: PointTracks,
    short_side: int,
    told: Callable[[int, int], None],
    between: Between | None = None,
) -> Clip:
    """The clip at a size whose shorter side is at most `short_side`. Without masks, the subject is what moves otherwise
    than the most of the picture and has a tracked point on it, see `moving_subject`.

    Raises:
        InputError: no pixel of the masks is subject.
    """
    size = working_size(video.size, short_side)
    frames = np.stack([_scaled(frame, size, cv2.INTER_AREA) for frame in video.frames])
    video.release()
    flow = flow_pairs(frames, between=between, told=told)
    factor = np.divide(size, video.size).astype(np.float32)
    xy = ((tracks.xy + 0.5) * factor - 0.5).astype(np.float32)
    if masks is None:
        subject = moving_subject(flow, xy, tracks.visible, frames.shape[:3])
    else:
        subject = np.stack([_scaled(mask, size, cv2.INTER_AREA) for mask in masks.frames]) > 127
    if not subject.any():
        raise InputError("masks: no pixel of any frame is subject, and a layered atlas needs one; check the masks")
    return Clip(frames, subject, flow, factor, xy, tracks.visible)


def working_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(width, height) with the shorter side at most `short_side`."""
    factor = min(1.0, short_side / min(size))
    return max(8, round(size[0] * factor)), max(8, round(size[1] * factor))


def _scaled(picture: ByteArray, size: tuple[int, int], how: int) -> ByteArray:
    return (
        np.asarray(picture)
        if picture.shape[1::-1] == size
        else np.asarray(cv2.resize(picture, size, interpolation=how))
    )


_OTHERWISE = 0.75
"""Pixels a frame by which the subject's motion differs from that of the most of the picture."""
_MEMORY = 0.7
"""How much of a frame's evidence goes on to the next: a subject that pauses is still one."""


def moving_subject(flow: FlowPairs, xy: FloatArray, visible: BoolArray, shape: tuple[int, int, int]) -> BoolArray:
    """bool [T, h, w]: pixels whose motion isn't that of the picture (one homography a frame, RANSAC), connected, with a
    visible tracked point (xy float32 [T, N, 2], visible bool [T, N]) on them. Everything, in frames where nothing is
    found: then there is one layer only, and it moves as it does."""
    count, height, width = shape
    evidence: FloatArray = np.zeros(shape, np.float32)
    for t, ahead in enumerate(flow.ahead):
        evidence[t] = _odd_motion(ahead)
    if count > 1:
        evidence[-1] = evidence[-2]
    for order in (range(1, count), range(count - 2, -1, -1)):
        for t in order:
            before = t - 1 if order.step > 0 else t + 1
            evidence[t] = np.maximum(evidence[t], _MEMORY * evidence[before])
    found = np.zeros(shape, bool)
    for t in range(count):
        closed = cv2.morphologyEx(
            (evidence[t] > _OTHERWISE).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)
        )
        _, parts = cv2.connectedComponents(cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
        x, y = xy[t, visible[t]].round().astype(int).T if visible[t].any() else np.zeros((2, 0), int)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        touched = np.setdiff1d(parts[y[inside], x[inside]], [0])
        found[t] = np.isin(parts, touched) if touched.size else True
    return found


def _odd_motion(ahead: FloatArray) -> FloatArray:
    """Pixels [h, w] by which the flow [h, w, 2] differs from its dominating homography."""
    height, width = ahead.shape[:2]
    y, x = np.mgrid[2:height:6, 2:width:6]
    start = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    motion, _ = cv2.findHomography(start, start + ahead[y.ravel(), x.ravel()], cv2.RANSAC, 1.0)
    if motion is None:
        return np.zeros((height, width), np.float32)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    moved = cv2.perspectiveTransform(grid.reshape(1, -1, 2), motion).reshape(height, width, 2) - grid
    return np.asarray(np.linalg.norm(ahead - moved, axis=-1), np.float32)
