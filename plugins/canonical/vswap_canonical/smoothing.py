"""Displacements over time: gaps bridged, jitter smoothed. Plain arrays, for every canonical."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray

Real = NDArray[np.float64]

_REACH = 3  # standard deviations on either side that count
_SMALLEST_DEVIATION = 0.2  # frames; below, the neighbours weigh nothing
_ALL_BUT_ZERO = 1e-3  # px


def smoothed(values: FloatArray | Real, frame: int, deviation: float) -> FloatArray | Real:
    """values [T, ...] smoothed over time, but for those of `frame`, which stay exactly as they are.

    Each is replaced by that of a line fitted to its neighbours, weighted by a Gaussian (local linear regression:
    Cleveland & Devlin, JASA 1988): steady motion isn't held back, not at the ends of the clip either. What that would
    change on `frame` itself is taken back there, and less and less around it by the same Gaussian.

    Args:
        values: displacements, or any parameters that change little from frame to frame.
        frame: the edit's own frame, where nothing jitters.
        deviation: standard deviation of the Gaussian in frames; less than 0.2 leaves all as it is.
    """
    if deviation < _SMALLEST_DEVIATION or len(values) < 3:
        return values
    reach = min(int(np.ceil(_REACH * deviation)), len(values) - 1)
    steps = np.arange(-reach, reach + 1)
    bell = np.exp(-0.5 * (steps / deviation) ** 2)

    def moments(series: FloatArray | Real, power: int) -> Real:
        """Sums over the neighbours of weight * step^power * series [T, C]."""
        padded = np.pad(series, ((reach, reach), (0, 0)))
        return np.asarray(sliding_window_view(padded, len(steps), axis=0) @ (bell * steps**power))

    flat, one = values.reshape(len(values), -1), np.ones((len(values), 1))
    (count, lean, breadth), (level, slope) = ([moments(x, k) for k in range(n)] for x, n in ((one, 3), (flat, 2)))
    line = (breadth * level - lean * slope) / (count * breadth - lean**2)
    kept = np.exp(-0.5 * ((np.arange(len(flat)) - frame) / deviation) ** 2)[:, None]
    result = line + kept * (flat[frame] - line[frame])
    result[frame] = flat[frame]
    return np.asarray(result.reshape(values.shape))


def bridged(delta: FloatArray, known: BoolArray) -> FloatArray:
    """delta float32 [T, M, 2] whose frames that aren't known, bool [T], are interpolated over time: by angle and
    logarithm of the length, so that a displacement turns and grows evenly in between. Before the first and after the
    last known frame that one's holds. Where one of both ends is all but zero, the vector itself is interpolated."""
    there = np.flatnonzero(known)
    if not there.size or there.size == len(known):
        return delta
    gaps = np.flatnonzero(~known)
    after = np.searchsorted(there, gaps)
    first, last = there[np.maximum(after - 1, 0)], there[np.minimum(after, len(there) - 1)]
    share = ((gaps - first) / np.maximum(last - first, 1)).clip(0, 1)[:, None]
    arrows = delta[..., 0].astype(np.float64) + 1j * delta[..., 1]
    start, end = arrows[first], arrows[last]
    polar = (np.abs(start) > _ALL_BUT_ZERO) & (np.abs(end) > _ALL_BUT_ZERO)
    ratio = np.where(polar, end, 1) / np.where(polar, start, 1)
    between = np.where(polar, start * np.exp(share * np.log(ratio)), start + share * (end - start))
    result = delta.copy()
    result[gaps] = np.stack([between.real, between.imag], axis=-1)
    return result
