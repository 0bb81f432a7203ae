"""Which pixels of each frame belong to the subject: by its masks, or else around its tracked points."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, FloatArray, Masks, PointTracks

_MARGIN = 0.15  # of the hull's size, added around the tracked points
_FAR = 3.0  # times the median distance from their middle: points beyond it don't widen the hull
_LONELY = 0.08  # of the frame's shorter side: the radius around a single point


class Regions:
    """The subject's pixels, frame by frame.

    With masks: theirs, less a rim of one pixel, where flow mixes with the background's. Without: the convex hull of the
    visible points and a margin around it, and all of the frame where there are no points either.
    """

    def __init__(self, masks: Masks | None, tracks: PointTracks) -> None:
        self._masks, self._tracks = masks, tracks
        if masks is not None and not any((frames > 127).any() for _, frames in masks.chunks()):
            raise InputError(
                "masks: empty in every frame, so there is no subject to fit; check them, or leave masks out of the "
                "config to fit what is around the points"
            )

    def at(self, frame: int) -> BoolArray:
        """bool [h, w]."""
        if self._masks is None:
            return self._hull(self._tracks.xy[frame, self._tracks.visible[frame]])
        mask = (self._masks.frames[frame] > 127).astype(np.uint8)
        inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
        return np.asarray((inner if inner.any() else mask) > 0)

    def _hull(self, points: FloatArray) -> BoolArray:
        width, height = self._tracks.size
        if not self._tracks.names:
            return np.ones((height, width), np.bool_)
        canvas = np.zeros((height, width), np.uint8)
        if not len(points):
            return canvas > 0
        distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
        points = points[distance <= _FAR * np.median(distance) + 1]
        cv2.fillConvexPoly(canvas, cv2.convexHull(np.round(points).astype(np.int32)), 1)
        size = float(np.linalg.norm(np.ptp(points, axis=0)))
        reach = int(np.ceil(max(_MARGIN * size, 2 if len(points) > 1 else _LONELY * min(width, height))))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        return np.asarray(cv2.dilate(canvas, disc) > 0)
