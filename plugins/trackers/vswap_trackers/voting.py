"""Arithmetic of an ensemble's vote. Pure functions; M members, T frames, N points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import FloatArray


def vote(xy: FloatArray, weight: FloatArray, agree: float) -> tuple[FloatArray, FloatArray]:
    """Where the members say that points are, and how far they agree.

    A member's support is the sum of all members' weights, each less by 1/e for every `agree` pixels of distance. The
    place is that of the best supported member, averaged by weight with those within `agree` pixels of it.

    Args:
        xy: float32 [M, T, N, 2] pixels.
        weight: float32 [M, T, N], above 0.

    Returns:
        places float32 [T, N, 2], and the winner's share of the weights float32 [T, N] in 0..1.
    """
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    support = np.einsum("mkti,kti->mti", np.exp(-apart / agree), weight)
    winner = support.argmax(axis=0)[None]
    near = np.take_along_axis(apart, winner[None], axis=0)[0] <= agree
    say = weight * near
    place = np.einsum("mti,mtic->tic", say, xy) / say.sum(axis=0)[..., None]
    share = np.take_along_axis(support, winner, axis=0)[0] / weight.sum(axis=0)
    return place.astype(np.float32), share.astype(np.float32)


def mean_on_the_way(apart: FloatArray, anchors: NDArray[np.intp], keyframe: NDArray[np.int32]) -> FloatArray:
    """Mean float32 [A, N] of distances [T, A, N] over the frames between each anchor [A] and each keyframe [N]."""
    frame, start = np.arange(len(apart))[:, None, None], anchors[:, None]
    between = (frame >= np.minimum(start, keyframe)) & (frame <= np.maximum(start, keyframe))
    return np.asarray((apart * between).sum(axis=0) / between.sum(axis=0), np.float32)


def interpolated(values: FloatArray, anchors: NDArray[np.intp], frames: int) -> FloatArray:
    """Values float32 [A, N] at the frames `anchors` [A], in order, linearly between them: float32 [T, N]."""
    number = np.arange(frames)
    place = np.interp(number, anchors, np.arange(len(anchors)))
    low = np.minimum(place.astype(np.intp), len(anchors) - 1)
    high = np.minimum(low + 1, len(anchors) - 1)
    share = (place - low)[:, None]
    return np.asarray((1 - share) * values[low] + share * values[high], np.float32)
