"""Pyramidal Lucas-Kanade between two frames, checked by tracking back, at points and around them.

OpenCV's Python binding takes images only, so that pyramids built before can't be handed to it; each frame is made grey
once, and all points go into one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vswap_kernel.types import ByteArray, FloatArray
from vswap_trackers.patches import grid


@dataclass(frozen=True, eq=False)
class LocalFlow:
    """What the flow says about N points.

    Attributes:
        own: float32 [N, 2], where each point's own window goes; NaN where tracking back misses by too much.
        median: float32 [N, 2], where the median of the windows around it takes the point; NaN where all are lost.
        error: float32 [N] pixels, how far tracking back misses: the point's own window, or the median of those around
            it where that is less; infinite where lost.
    """

    own: FloatArray
    median: FloatArray
    error: FloatArray


def flow_both_ways(
    before: ByteArray, after: ByteArray, xy: FloatArray, window: int, levels: int
) -> tuple[FloatArray, FloatArray]:
    """Where points xy [N, 2] of `before` [H, W] are in `after` [H, W].

    Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker" (2001); Kalal, Mikolajczyk and Matas,
    "Forward-Backward Error: Automatic Detection of Tracking Failures" (ICPR 2010).

    Returns:
        places float32 [N, 2], and float32 [N], the pixels by which tracking back misses the start (infinite where the
        flow is lost; the place is then the start).
    """
    if not len(xy):
        return xy, np.zeros(0, np.float32)
    start, side = np.ascontiguousarray(xy[:, None]), (window, window)
    ahead, ahead_found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, start.copy(), winSize=side, maxLevel=levels)
    back, back_found, _ = cv2.calcOpticalFlowPyrLK(after, before, ahead, ahead.copy(), winSize=side, maxLevel=levels)
    miss = np.linalg.norm(back[:, 0] - xy, axis=1)
    found = (ahead_found[:, 0] == 1) & (back_found[:, 0] == 1) & np.isfinite(miss)
    places = np.where(found.reshape(-1, 1), ahead[:, 0], xy)
    return places.astype(np.float32), np.where(found, miss, np.inf).astype(np.float32)


def local_flow(
    before: ByteArray, after: ByteArray, xy: FloatArray, window: int, levels: int, max_error: float
) -> LocalFlow:
    """`flow_both_ways` at each point xy [N, 2] and on the 3 x 3 grid around it, half a window apart.

    The own window is exact but slips easily, the median is safe but shifts with what lies around (Kalal's Median Flow,
    section 3 of the paper above). Windows that miss by more than `max_error` pixels don't count.
    """
    if not len(xy):
        return LocalFlow(xy, xy, np.zeros(0, np.float32))
    around = grid(3) * (window // 2)
    starts = (xy[:, None] + around).reshape(-1, 2)
    places, miss = flow_both_ways(before, after, starts, window, levels)
    miss = miss.reshape(len(xy), len(around))
    lost = miss > max_error
    shifts = np.where(lost[..., None], np.float32(np.nan), (places - starts).reshape(*lost.shape, 2))
    some = ~np.asarray(lost.all(axis=1))
    median = np.full(xy.shape, np.nan, np.float32)
    median[some] = np.nanmedian(shifts[some], axis=1)
    centre = len(around) // 2
    error = np.minimum(miss[:, centre], np.median(miss, axis=1))
    return LocalFlow(xy + shifts[:, centre], xy + median, np.asarray(error, np.float32))
