"""How a subject is turned and grown in each frame against one of them, from its tracked points.

Points of the plane are complex numbers x + iy here. A similarity is then z -> a z + b: `a` is its linear part, rotation
and scale, and its weighted least-squares fit is one line (Umeyama, "Least-squares estimation of transformation
parameters between two point patterns", TPAMI 1991, in 2D). A bad track is kept out twice: the fit starts from the
repeated median of all pairs of points (Siegel, "Robust regression using repeated medians", Biometrika 1982), which one
bad point of four doesn't move far, and then weighs each point by how far it is off (Cauchy weights).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

_ROUNDS = 5
_SMALLEST_SCALE = 0.5  # px off that costs a point half of its weight, at least: tracks are no better than that
_APART = 1.0  # px; points nearer to each other say nothing of a turn
_APART_SHARE = 0.05  # the same, of the largest distance between two points
_MIRROR_GAIN = 0.5  # a mirrored fit has to leave less than this share of the misfit
_PAIRS = 1 << 22  # pairs of points at once, over all frames: 64 MiB


@dataclass(frozen=True, eq=False)
class Turns:
    """factor complex128 [T]: rotation and scale; mirrored bool [T]: whether y is negated before it; known bool [T]:
    fitted, not interpolated."""

    factor: Complex
    mirrored: BoolArray
    known: BoolArray

    def applied(self, offset: Complex) -> Complex:
        """Offsets [M] of the reference frame in every frame: [T, M]."""
        return self.factor[:, None] * np.where(self.mirrored[:, None], offset.conj(), offset)


def as_complex(xy: FloatArray | Real) -> Complex:
    """Points [..., 2] as complex128 [...]."""
    return np.asarray(xy[..., 0].astype(np.float64) + 1j * xy[..., 1])


def as_points(places: Complex) -> FloatArray:
    """The reverse, float32 [..., 2]."""
    return np.stack([places.real, places.imag], axis=-1).astype(np.float32)


def fit_turns(places: Complex, visible: BoolArray, frame: int, *, mirror: bool = False) -> Turns:
    """The turn of every frame against `frame`.

    Args:
        places: [T, N] pixels.
        visible: [T, N]; a frame's fit rests on the points that are visible both there and in `frame`.
        frame: the reference.
        mirror: whether a frame may be a mirror image, where at least three points fit it clearly better.

    Returns:
        Turns; in frames that share fewer than two points with `frame`, or only points that lie together, angle and
        logarithm of the scale are interpolated over time. No frame is known when `frame` itself has too few points;
        their factor is then 1.
    """
    shared = visible & visible[frame]
    factor, misfit, known = _fit(places[frame], places, shared)
    mirrored = np.zeros(len(places), np.bool_)
    if mirror:
        other, left, fitted = _fit(places[frame].conj(), places, shared)
        better = np.maximum(left, _SMALLEST_SCALE) < _MIRROR_GAIN * misfit
        mirrored = known & fitted & better & (shared.sum(1) > 2)
        factor = np.where(mirrored, other, factor)
    return _filled(factor, mirrored, known)


def _fit(source: Complex, target: Complex, shared: BoolArray) -> tuple[Complex, Real, BoolArray]:
    """(factor [T], mean distance [T] in pixels that it leaves, whether it says anything [T]) for source [N] to target
    [T, N] on the points shared [T, N]."""
    arms = source[:, None] - source
    seen = shared.any(0)
    widest = np.abs(arms[np.ix_(seen, seen)]).max(initial=0.0)
    apart = np.abs(arms) > max(_APART, _APART_SHARE * widest)
    step = max(1, _PAIRS // max(len(source) ** 2, 1))
    parts = [slice(start, start + step) for start in range(0, len(target), step)]
    medians = [_repeated_median(arms, apart, target[part], shared[part]) for part in parts]
    factor = np.concatenate([one for one, _ in medians])
    known = np.concatenate([told for _, told in medians])
    off = target - factor[:, None] * source
    distance = np.abs(off - median(off, shared)[:, None])
    for _ in range(_ROUNDS):
        scale = np.maximum(_SMALLEST_SCALE, median(distance + 0j, shared).real)[:, None]
        factor, distance = _least_squares(source, target, shared / (1 + (distance / scale) ** 2))
    misfit = (distance * shared).sum(1) / np.maximum(shared.sum(1), 1)
    known &= np.abs(factor) > 1e-6
    return np.where(known, factor, 1.0), misfit, known


def _repeated_median(arms: Complex, apart: BoolArray, target: Complex, shared: BoolArray) -> tuple[Complex, BoolArray]:
    """(median over points of the median over their partners of the pair's own factor [T], whether there is a pair [T]),
    for arms [N, N] between the source points, apart [N, N] where they count, target and shared [T, N]."""
    usable = shared[:, :, None] & shared[:, None] & apart
    ratio = (target[:, :, None] - target[:, None]) / np.where(apart, arms, 1.0)
    paired = np.asarray(usable.any(-1))
    return median(median(ratio, usable), paired), np.asarray(paired.any(-1))


def median(values: Complex, where: BoolArray) -> Complex:
    """Median of real and imaginary parts [...] over the last axis of values [..., N], where marked; any number (for it
    is never used) where nothing is."""
    counted = where | ~where.any(-1, keepdims=True)
    count = counted.sum(-1, keepdims=True)
    middle = np.concatenate([(count - 1) // 2, count // 2], axis=-1)
    real, imaginary = (  # np.nanmedian takes many times as long
        np.take_along_axis(np.sort(np.where(counted, part, np.inf), axis=-1), middle, -1).mean(-1)
        for part in (values.real, values.imag)
    )
    return np.asarray(real + 1j * imaginary)


def _least_squares(source: Complex, target: Complex, weight: Real) -> tuple[Complex, Real]:
    """(factor [T], how far it leaves each point off [T, N] px) of the weighted fit of source [N] to target [T, N]."""
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)
    arm = source - (weight * source).sum(1, keepdims=True)
    goal = target - (weight * target).sum(1, keepdims=True)
    spread = (weight * np.abs(arm) ** 2).sum(1)
    factor = (weight * arm.conj() * goal).sum(1) / np.maximum(spread, 1e-12)
    return factor, np.abs(factor[:, None] * arm - goal)


def _filled(factor: Complex, mirrored: BoolArray, known: BoolArray) -> Turns:
    """Turns [T] whose gaps are interpolated; before the first and after the last known frame that one's holds."""
    if known.all() or not known.any():
        return Turns(factor, mirrored, known)
    frames, there = np.arange(len(factor)), np.flatnonzero(known)
    angle = np.interp(frames, there, np.unwrap(np.angle(factor[there])))
    growth = np.interp(frames, there, np.log(np.abs(factor[there])))
    handed = np.interp(frames, there, mirrored[there]) > 0.5
    return Turns(np.where(known, factor, np.exp(growth + 1j * angle)), handed, known)
