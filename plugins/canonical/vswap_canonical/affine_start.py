"""Affine maps from every frame to a reference frame, all fitted at once to correspondences between them.

A correspondence between x in frame s and y in frame t asks that A_s x = A_t y, which is linear in the maps; with the
reference's map fixed, all of them are one least-squares problem of 3 T unknowns for each coordinate. It is solved with
Cauchy weights, renewed a few times (iteratively reweighted least squares), so that correspondences that go with
something else don't count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vswap_canonical.deformation_pairs import Pairs

Real = NDArray[np.float64]

_ROUNDS = 15
_SMALLEST_SCALE = 0.25  # px; correspondences are no better than that
_SCALE = 0.5  # of the median misfit costs a correspondence half of its weight: limbs that swing aren't to count
_STILL_LINEAR, _STILL_SHIFT = 1e-3, 1e-6  # pull towards the neighbouring frame's map, of a frame's weight of evidence
_FLATTEST = 0.02  # of the reference's area; maps that flatten the subject further are replaced


def affine_start(
    parts: Sequence[Pairs], frames: int, reference: int, centre: tuple[float, float], unit: float
) -> tuple[Real, list[Real]]:
    """Maps float64 [T, 2, 3] from pixels to units of `unit` pixels around `centre` on the reference frame, and how far
    each correspondence of each part was believed, [P, M], 0..1.

    Each of `parts` counts as much as the others as a whole.
    """
    places = [(_rows(part.start, centre, unit), _rows(part.end, centre, unit)) for part in parts]
    base = [part.weight / max(float(part.weight.sum()), 1e-9) for part in parts]
    believed = [np.ones_like(each, np.float64) for each in base]
    maps = np.tile(np.eye(3)[:, :2], (frames, 1, 1))
    for _ in range(_ROUNDS):
        weights = [each * trust for each, trust in zip(base, believed, strict=True)]
        maps = _solved(parts, places, weights, reference, maps)
        off = [
            unit * np.linalg.norm(start @ maps[part.source] - end @ maps[part.target], axis=-1)
            for part, (start, end) in zip(parts, places, strict=True)
        ]
        scale = max(_SMALLEST_SCALE, _SCALE * _median(off, base))
        believed = [1 / (1 + (each / scale) ** 2) for each in off]
    return _in_pixels(_unflattened(maps, reference), centre, unit), believed


def _rows(xy: NDArray[np.float32], centre: tuple[float, float], unit: float) -> Real:
    """(x, y, 1) [P, M, 3]."""
    return np.pad((xy - np.array(centre)) / unit, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)


def _median(values: list[Real], weights: list[Real]) -> float:
    """The weighted median of all."""
    value, weight = (np.concatenate([part.ravel() for part in parts]) for parts in (values, weights))
    order = np.argsort(value)
    above = np.cumsum(weight[order])
    return float(value[order[np.searchsorted(above, above[-1] / 2)]])


def _solved(
    parts: Sequence[Pairs], places: list[tuple[Real, Real]], weights: list[Real], reference: int, maps: Real
) -> Real:
    """Maps [T, 3, 2] that minimise the weighted misfit, that of `reference` being as it is in `maps`."""
    frames = len(maps)
    normal = np.zeros((frames, frames, 3, 3))
    for part, (start, end), weight in zip(parts, places, weights, strict=True):
        weighed = weight[..., None] * start, weight[..., None] * end
        np.add.at(normal, (part.source, part.source), weighed[0].mT @ start)
        np.add.at(normal, (part.target, part.target), weighed[1].mT @ end)
        cross = weighed[0].mT @ end
        np.add.at(normal, (part.source, part.target), -cross)
        np.add.at(normal, (part.target, part.source), -cross.mT)
    still = np.diag([_STILL_LINEAR, _STILL_LINEAR, _STILL_SHIFT]) / max(frames, 1)
    for t in range(frames - 1):
        for one, other, sign in ((t, t, 1), (t + 1, t + 1, 1), (t, t + 1, -1), (t + 1, t, -1)):
            normal[one, other] += sign * still
    others = np.delete(np.arange(frames), reference)
    free = normal[np.ix_(others, others)].transpose(0, 2, 1, 3).reshape(3 * len(others), -1)
    fixed = -normal[others, reference].reshape(-1, 3) @ maps[reference]
    solved = maps.copy()
    solved[others] = np.linalg.solve(free, fixed).reshape(-1, 3, 2)
    return solved


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
