"""What every tracker owes, whatever a model or a file says: exact keyframes, nothing visible out of the frame."""

from __future__ import annotations

import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, FloatArray, PointQueries, PointTracks, Video


def require_keyframes(video: Video, queries: PointQueries) -> None:
    """Refuse points whose keyframe the video doesn't have.

    Raises:
        InputError: naming the first of them.
    """
    frames = len(video)
    beyond = np.flatnonzero((queries.frame >= frames) | (queries.frame < 0))
    if len(beyond):
        name, frame = queries.names[beyond[0]], queries.frame[beyond[0]]
        raise InputError(f"point {name!r}: keyframe {frame} is beyond the end; the video has {frames} frames")


def inside(xy: FloatArray, size: tuple[int, int]) -> BoolArray:
    """Which places [..., 2] are on a pixel of a frame of `size` (width, height): bool [...]."""
    return np.asarray(((xy >= -0.5) & (xy <= np.array(size, np.float32) - 0.5)).all(axis=-1))


def finished(
    queries: PointQueries, size: tuple[int, int], xy: FloatArray, visible: BoolArray, confidence: FloatArray
) -> PointTracks:
    """Tracks that keep the protocol, in frames of `size` (width, height).

    Args:
        queries: the N points asked for.
        size: of the video.
        xy: float32 [T, N, 2] pixels. Places more than a frame's size beyond the frame are held there.
        visible: bool [T, N]; cleared out of the frame.
        confidence: float32 [T, N]; clipped to 0..1.
    """
    every, limit = np.arange(len(queries.names)), np.array(size, np.float32)
    xy = np.clip(xy, -limit, 2 * limit).astype(np.float32)
    visible, confidence = visible & inside(xy, size), np.clip(confidence, 0.0, 1.0).astype(np.float32)
    xy[queries.frame, every], visible[queries.frame, every] = queries.xy, True
    confidence[queries.frame, every] = 1.0
    return PointTracks(queries.names, xy, visible, confidence, size)
