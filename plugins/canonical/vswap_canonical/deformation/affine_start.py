"""Affine maps from every frame to a reference frame, fitted to correspondences between all of them.

First each pair of frames by itself: the affine map that carries its correspondences, in pixels, by least squares with
Cauchy weights that are renewed a few times, so that what moves otherwise (a limb, a bad track) doesn't count. Then all
frames at once: a pair's map R asks that A_s x = A_t R x on its places, which is linear in the maps A; with the
reference's fixed, they are one least-squares problem of 3 T unknowns for each coordinate. It isn't made robust: maps
that shrink leave small misfits, and would be believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_canonical.deformation.pairs import Pairs

Real = NDArray[np.float64]

_ROUNDS = 15
_SMALLEST_SCALE = 0.25  # px; correspondences are no better than that
_SCALE = 0.5  # of the median misfit costs a correspondence half of its weight: limbs that swing aren't to count
_LEAN_PRIOR = 0.02  # ridge that pulls a pair's map to a similarity, as a share of its evidence
_STILL_LINEAR, _STILL_SHIFT = 1e-3, 1e-6  # pull towards the neighbouring frame's map, of a frame's weight of evidence
_FLATTEST = 0.02  # of the reference's area; maps that flatten the subject further are replaced


def affine_start(
    pairs: Pairs, frames: int, reference: int, centre: tuple[float, float], unit: float
) -> tuple[Real, Real]:
    """Maps float64 [T, 2, 3] from pixels to units of `unit` pixels around `centre` on the reference frame, and how far
    each correspondence was believed, [P, M], 0..1."""
    start, end = ((places.astype(np.float64) - centre) / unit for places in (pairs.start, pairs.end))
    believed, carried = np.ones(pairs.weight.shape), end
    for _ in range(_ROUNDS if len(pairs) else 0):
        carried = _carried(start, end, pairs.weight * believed)
        off = unit * np.linalg.norm(end - carried, axis=-1)
        scale = np.maximum(_SMALLEST_SCALE, _SCALE * _medians(off, pairs.weight))[:, None]
        believed = 1 / (1 + (off / scale) ** 2)
    maps = _solved(pairs, _rows(start), _rows(carried), pairs.weight * believed, reference, frames)
    return _in_pixels(_unflattened(maps, reference), centre, unit), believed


def _carried(start: Real, end: Real, weight: Real) -> Real:
    """Where each pair's own affine map takes `start`: [P, M, 2]. With points as complex numbers it is
    a z + b conj(z) + c, and b has the ridge."""
    z, to = start @ (1, 1j), end @ (1, 1j)
    total = np.maximum(weight.sum(1), 1e-9)[:, None]
    middle, goal = ((weight * each).sum(1, keepdims=True) / total for each in (z, to))
    arms, aims = z - middle, to - goal
    size = (weight * np.abs(arms) ** 2).sum(1) + 1e-12
    twist = (weight * arms.conj() ** 2).sum(1)
    first, second = ((weight * each * aims).sum(1) for each in (arms.conj(), arms))
    # normal equations: size a + twist b = first; conj(twist) a + (1 + ridge) size b = second
    b = (second - twist.conj() / size * first) / ((1 + _LEAN_PRIOR) * size - np.abs(twist) ** 2 / size)
    a = (first - twist * b) / size
    found = a[:, None] * arms + b[:, None] * arms.conj() + goal
    return np.stack([found.real, found.imag], -1)


def _medians(values: Real, weight: NDArray[np.float32]) -> Real:
    """The weighted median of each row."""
    order = np.argsort(values, axis=1)
    above = np.cumsum(np.take_along_axis(weight, order, 1), axis=1)
    place = (above >= above[:, -1:] / 2).argmax(1)
    return np.take_along_axis(values, np.take_along_axis(order, place[:, None], 1), 1)[:, 0]


def _rows(xy: Real) -> Real:
    """(x, y, 1) [P, M, 3]."""
    return np.pad(xy, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)


def _solved(pairs: Pairs, start: Real, end: Real, weight: Real, reference: int, frames: int) -> Real:
    """Maps [T, 3, 2] that minimise the weighted misfit, that of `reference` being the identity."""
    maps = np.tile(np.eye(3)[:, :2], (frames, 1, 1))
    others = np.delete(np.arange(frames), reference)
    if not len(others):
        return maps
    normal = np.zeros((frames, frames, 3, 3))
    weight = weight / max(float(weight.sum()), 1e-9)
    weighed = weight[..., None] * start, weight[..., None] * end
    cross = weighed[0].mT @ end
    np.add.at(normal, (pairs.source, pairs.source), weighed[0].mT @ start)
    np.add.at(normal, (pairs.target, pairs.target), weighed[1].mT @ end)
    np.add.at(normal, (pairs.source, pairs.target), -cross)
    np.add.at(normal, (pairs.target, pairs.source), -cross.mT)
    still = np.diag([_STILL_LINEAR, _STILL_LINEAR, _STILL_SHIFT]) / frames
    for t in range(frames - 1):
        for one, other, sign in ((t, t, 1), (t + 1, t + 1, 1), (t, t + 1, -1), (t + 1, t, -1)):
            normal[one, other] += sign * still
    free = normal[np.ix_(others, others)].transpose(0, 2, 1, 3).reshape(3 * len(others), -1)
    fixed = -normal[others, reference].reshape(-1, 3) @ maps[reference]
    maps[others] = np.linalg.solve(free, fixed).reshape(-1, 3, 2)
    return maps


def _unflattened(maps: Real, reference: int) -> Real:
    """Maps [T, 3, 2] with nearly singular linear parts replaced by those of the nearest frame that has a good one; the
    place that goes to the origin stays."""
    area = np.abs(np.linalg.det(maps[:, :2]))
    good = (area > _FLATTEST) & (area < 1 / _FLATTEST)
    good[reference] = True
    fine = np.flatnonzero(good)
    nearest = fine[np.abs(np.arange(len(maps))[:, None] - fine).argmin(1)]
    origin = -maps[:, 2:] @ np.linalg.pinv(maps[:, :2])
    linear = maps[nearest, :2]
    return np.where(good[:, None, None], maps, np.concatenate([linear, -origin @ linear], axis=1))


def _in_pixels(maps: Real, centre: tuple[float, float], unit: float) -> Real:
    linear = maps[:, :2].mT / unit
    shift = maps[:, 2] - linear @ np.array(centre)
    return np.concatenate([linear, shift[..., None]], axis=-1)
