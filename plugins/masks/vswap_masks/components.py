"""Which connected parts of a mask are the user's subject, followed from the points through time."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, PointQueries

_SHARE = 0.3
"""A part belongs to the subject when that share of it lies where the subject was in the frame before."""
_REACH = 0.1
"""How far, as a share of the picture's diagonal, the subject may jump where nothing overlaps."""


def follow_subject(
    mask_of: Callable[[int], BoolArray], frames: int, queries: PointQueries, report: Callable[[int], None]
) -> list[NDArray[np.int32]]:
    """The labels (of `label_parts`) of the parts to keep, for each frame.

    From the first keyframe on, forwards and backwards, a part is kept if it holds a point set on that frame, overlaps
    what was kept in the frame before by 0.3 of its own area, or overlaps it most. Where none does, the nearest is kept
    if it is within a tenth of the diagonal.

    Args:
        mask_of: gives the found mask bool [H, W] of a frame.
        frames: their number.
        queries: at least one point.
        report: told the number of frames done.
    """
    first = int(queries.frame.min())
    kept: list[NDArray[np.int32]] = [np.zeros(0, np.int32)] * frames
    mask = mask_of(first)
    pinned = _pixels_at(mask.shape, queries.xy[queries.frame == first])
    kept[first], start = _choose_parts(mask, pinned, pinned)
    report(1)
    for order in (range(first + 1, frames), range(first - 1, -1, -1)):
        subject = start
        for t in order:
            mask = mask_of(t)
            pinned = _pixels_at(mask.shape, queries.xy[queries.frame == t])
            kept[t], subject = _choose_parts(mask, subject, pinned)
            report(t - first + 1 if t > first else frames - t)
    return kept


def label_parts(mask: BoolArray) -> NDArray[np.int32]:
    """Labels int32 [H, W] of the 8-connected parts of a mask [H, W], from 1; 0 outside."""
    return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1], np.int32)


def _choose_parts(mask: BoolArray, known: BoolArray, pinned: BoolArray) -> tuple[NDArray[np.int32], BoolArray]:
    """Labels of the parts of `mask` [H, W] to keep, and the subject they make.

    `known` is where the subject was; where nothing is kept that stays the best knowledge of it. `pinned` are pixels
    that the user says are on it.
    """
    parts = label_parts(mask)
    labels = np.union1d(_overlapping(parts, known), np.setdiff1d(parts[pinned], 0)).astype(np.int32)
    if not len(labels):
        labels = _nearest(parts, known)
    return labels, np.isin(parts, labels) if len(labels) else known


def _overlapping(parts: NDArray[np.int32], subject: BoolArray) -> NDArray[np.int32]:
    count = int(parts.max()) + 1
    shared, area = np.bincount(parts[subject], minlength=count), np.bincount(parts.ravel(), minlength=count)
    shared[0] = 0
    if not shared.any():
        return np.zeros(0, np.int32)
    enough = np.flatnonzero((shared > 0) & (shared >= _SHARE * area))
    return np.union1d(enough, shared.argmax()).astype(np.int32)


def _nearest(parts: NDArray[np.int32], subject: BoolArray) -> NDArray[np.int32]:
    if not (parts > 0).any() or not subject.any():
        return np.zeros(0, np.int32)
    distance = np.asarray(cv2.distanceTransform((~subject).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    distance = np.where(parts > 0, distance, np.inf)
    near = distance.min() <= _REACH * float(np.hypot(*parts.shape))
    return parts.ravel()[distance.argmin() : distance.argmin() + 1] if near else np.zeros(0, np.int32)


def _pixels_at(shape: tuple[int, ...], xy: NDArray[np.float32]) -> BoolArray:
    """The pixels bool [H, W] that hold the points xy [N, 2]."""
    places = np.zeros(shape, bool)
    column, row = np.clip(np.round(xy).astype(np.int64), 0, np.array(shape[::-1]) - 1).T
    places[row, column] = True
    return places
