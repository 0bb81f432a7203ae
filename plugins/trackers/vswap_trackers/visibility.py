"""When a point counts as visible, in one rule for all trackers that follow pictures; and where hidden points are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray


@dataclass(frozen=True)
class VisibilityRule:
    """Trust is the tracker's own confidence, times how near the way back ends, times how alike the place looks:

        trust = own / (1 + (miss / scale)^2) * max(similarity, 0)

    A visible point is hidden when its trust falls below `hide`, and visible again from `show` on: the gap between the
    two keeps it from flickering.

    Attributes:
        scale: pixels by which tracking back may miss before trust is halved.
        hide, show: the two thresholds; `show` is the greater.
    """

    scale: float
    hide: float
    show: float

    def trust(self, own: FloatArray | float, miss: FloatArray, similarity: FloatArray | float) -> FloatArray:
        """float32 [...] in 0..1.

        Args:
            own: the tracker's confidence, in 0..1.
            miss: pixels by which tracking back misses the start; infinite where nothing comes back.
            similarity: cosine of the features there and on the keyframe, in -1..1.
        """
        back = 1.0 / (1.0 + np.square(miss / self.scale, dtype=np.float32))
        return np.asarray(np.clip(own * back * similarity, 0.0, 1.0), np.float32)

    def decide(self, trust: FloatArray, before: BoolArray) -> BoolArray:
        """Which points are visible now, by their trust [N] and whether they were visible `before` [N]."""
        return np.asarray(trust >= np.where(before, self.hide, self.show))


def bridged(xy: FloatArray, visible: BoolArray, carried: FloatArray) -> FloatArray:
    """Places float32 [T, N, 2] where hidden points are interpolated between the last place seen and the next.

    What is interpolated, linearly, is how far a point is from where the common motion alone takes it, so that a hidden
    point moves with its subject. Before the first and after the last place seen that distance stays as it was. A point
    never seen is where it is carried.

    Args:
        xy: float32 [T, N, 2]; only read where visible [T, N].
        carried: float32 [T, N, 2], where the common motion takes each point.
    """
    frames = len(xy)
    number = np.broadcast_to(np.arange(frames)[:, None], visible.shape)
    last = np.maximum.accumulate(np.where(visible, number, -1), axis=0)
    following = np.minimum.accumulate(np.where(visible, number, frames)[::-1], axis=0)[::-1]
    before = np.where(last >= 0, last, np.minimum(following, frames - 1))
    after = np.where(following < frames, following, np.maximum(last, 0))
    away = np.where(visible[..., None], xy - carried, np.float32(0.0))
    share = (number - before) / np.maximum(after - before, 1)
    start, end = (np.take_along_axis(away, index[..., None], axis=0) for index in (before, after))
    return np.asarray(carried + start + share[..., None] * (end - start), np.float32)
