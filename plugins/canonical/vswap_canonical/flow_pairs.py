"""Dense optical flow between the frames of a video, both ways, and where the two agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_optical_flow.dense_flow import DenseFlow

Told = Callable[[int, int], None]
Between = Callable[[ByteArray, ByteArray], FloatArray]
"""The flow [h, w, 2] from one RGB frame uint8 [h, w, 3] to another."""


@dataclass(frozen=True, eq=False)
class FlowPairs:
    """Flow between frames t and t + gap, for P = T - gap pairs.

    Attributes:
        gap: in frames.
        ahead: float32 [P, h, w, 2], (x, y) pixels by which each pixel of frame t moves until frame t + gap.
        back: float32 [P, h, w, 2], the same of frame t + gap until frame t.
        ahead_holds: bool [P, h, w], whether the flow back leads to where the flow ahead started.
        back_holds: bool [P, h, w], the reverse.
    """

    gap: int
    ahead: FloatArray
    back: FloatArray
    ahead_holds: BoolArray
    back_holds: BoolArray


def flow_pairs(
    frames: ByteArray,
    gap: int = 1,
    *,
    between: Between | None = None,
    largest_miss: float = 1.0,
    told: Told = lambda done, total: None,
) -> FlowPairs:
    """The flow between all frames uint8 [T, h, w, 3] that are `gap` apart; it holds where it comes back to within
    `largest_miss` pixels. `between` computes it, by default DIS. `told` is called with the pairs done and how many
    there are."""
    between = between or _dis
    count, shape = max(0, len(frames) - gap), frames.shape[1:3]
    ahead, back = np.zeros((count, *shape, 2), np.float32), np.zeros((count, *shape, 2), np.float32)
    for t in range(count):
        ahead[t], back[t] = between(frames[t], frames[t + gap]), between(frames[t + gap], frames[t])
        told(t + 1, count)
    holds = [np.array([comes_back(*pair, largest_miss) for pair in zip(one, other, strict=True)], bool).reshape(
        count, *shape) for one, other in ((ahead, back), (back, ahead))]  # fmt: skip
    return FlowPairs(gap, ahead, back, *holds)


def _dis(before: ByteArray, after: ByteArray) -> FloatArray:
    first, second = (np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in (before, after))
    return DenseFlow().between(first, second)


def comes_back(ahead: FloatArray, back: FloatArray, largest_miss: float) -> BoolArray:
    """bool [h, w]: whether following `ahead` and then `back`, both [h, w, 2], ends within `largest_miss` pixels of the
    start, and inside the frame in between."""
    height, width = ahead.shape[:2]
    y, x = np.indices((height, width), np.float32)
    to_x, to_y = x + ahead[..., 0], y + ahead[..., 1]
    returned = cv2.remap(back, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    miss = np.hypot(ahead[..., 0] + returned[..., 0], ahead[..., 1] + returned[..., 1])
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    return np.asarray((miss <= largest_miss) & inside)
