"""Places to a fraction of a pixel: where a point still looks as on its keyframe, its patch is aligned to that."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.group_motion import fit_similarity
from vswap_trackers.patches import align, correlation, grid, normalise, sample

_SIDE = 11
_NEAR = 2.0
"""Pixels by which a place is moved at most; farther off would be another place."""
_SAME = 0.8
"""Correlation from which on a patch is the keyframe's own."""
_LARGEST = 1.5
"""Since its keyframe a subject may have turned or grown by much."""
_RELEASE_EVERY = 16


def refined(video: Video, queries: PointQueries, tracks: PointTracks) -> FloatArray:
    """The places float32 [T, N, 2] of `tracks`, those of visible points aligned to their keyframes where they can be.

    Patches are turned and scaled as the points of the same keyframe are together (a similarity, since all are on one
    subject), and aligned by `patches.align`. A place that doesn't correlate with the keyframe by 0.8 afterwards, or
    would move by more than 2 pixels, stays as it was.
    """
    offsets, count = grid(_SIDE), len(queries.names)
    upright: FloatArray = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
    patches: FloatArray = np.zeros((count, len(offsets)), np.float32)
    for t in np.unique(queries.frame):
        new = queries.frame == t
        patches[new] = normalise(sample(_grey(video, t), queries.xy[new], upright[new], offsets))
    xy = tracks.xy.copy()
    for t in range(len(video)):
        seen = tracks.visible[t] & (queries.frame != t)
        if seen.any():
            xy[t, seen] = _aligned(_grey(video, t), queries, xy[t], seen, patches)
        if t % _RELEASE_EVERY == 0:
            video.release()
    video.release()
    return xy


def _grey(video: Video, t: int) -> ByteArray:
    return np.asarray(cv2.cvtColor(video.frames[t], cv2.COLOR_RGB2GRAY))


def _aligned(
    grey: ByteArray, queries: PointQueries, places: FloatArray, seen: BoolArray, patches: FloatArray
) -> FloatArray:
    """Where the points `seen` [N] of places [N, 2] in one frame are: [K, 2]."""
    linear: FloatArray = np.tile(np.eye(2, dtype=np.float32), (len(places), 1, 1))
    for t in np.unique(queries.frame[seen]):
        together = seen & (queries.frame == t)
        linear[together] = fit_similarity(queries.xy[together], places[together], _LARGEST).matrix
    start, patch, linear = places[seen], patches[seen], linear[seen]
    place = align(grey, patch, start, linear)
    same = correlation(normalise(sample(grey, place, linear, grid(_SIDE))), patch) >= _SAME
    near = np.linalg.norm(place - start, axis=1) <= _NEAR
    return np.where((same & near)[:, None], place, start)
