"""Drags on several keyframes as one field: each is carried by itself, and between keyframes they are blended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, DisplacementField, PointEdit


def blend_fields(fields: Sequence[DisplacementField], edits: Sequence[PointEdit]) -> DisplacementField:
    """One field of those that a canonical made of each of `edits`, one a keyframe, all of the same points and frames.

    A point is valid where it is in each field that has weight there; one that no edit moves counts as moved by all.
    """
    names = fields[0].names
    moved = np.array([[name in edit.move for name in names] for edit in edits], np.bool_)
    frames = np.array([edit.frame for edit in edits])
    weights = keyframe_weights(frames, moved | ~moved.any(0), len(fields[0]))
    delta = np.einsum("ktn,ktnc->tnc", weights, np.stack([field.delta for field in fields]))
    valid = (np.stack([field.valid for field in fields]) | (weights == 0)).all(0)
    return DisplacementField(names, delta.astype(np.float32), valid)


def keyframe_weights(frames: NDArray[np.integer], moved: BoolArray, length: int) -> NDArray[np.float64]:
    """The weight of each keyframe's field, in each of `length` frames, for each point: float64 [K, T, N].

    Over a point's keyframes the weights sum to 1: on a keyframe its own is 1, between two of them theirs run linearly,
    before the first and after the last that one's stays 1.

    Args:
        frames: int [K], the keyframes, all different. moved: bool [K, N], the points that each moves, at least one a
            point.
    """
    time, others = np.arange(length)[:, None], frames[:, None]
    weights = np.zeros((len(frames), length, moved.shape[1]))
    for index, frame in enumerate(frames):
        before = np.where(moved & (others < frame), others, -np.inf).max(0)
        after = np.where(moved & (others > frame), others, np.inf).min(0)
        rising, falling = 1 - (frame - time) / (frame - before), 1 - (time - frame) / (after - frame)
        weights[index] = np.minimum(rising, falling).clip(0, 1) * moved[index]
    return weights
