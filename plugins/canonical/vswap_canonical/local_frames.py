"""How dense flow turns, grows and leans a subject around points, from one frame to its neighbour.

Places and offsets are complex numbers, in scaled pixels. A linear part is offset -> a offset + b conj(offset).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vswap_canonical.flow_files import FlowStep
from vswap_canonical.hulls import inside_hull
from vswap_canonical.turns import Complex, Real, as_complex, as_points
from vswap_kernel.types import BoolArray
from vswap_optical_flow.dense_flow import read_at

_SIDE = 25  # samples across a window, which reaches two standard deviations to each side
_AGREE = (4.0, 2.0, 1.0)  # scaled px off the common motion that cost a sample half of its weight, round by round
_FEWEST = 5  # samples, of 625, that have to agree
_PRIOR = 28.0  # samples' worth: how much the tracked points' own turn is believed
_MARGIN = 3.0  # scaled px around the tracked points' hull that still are the subject


@dataclass(frozen=True, eq=False)
class Expected:
    """What the tracked points say of the step, before the flow is looked at.

    Attributes:
        points: complex128 [N], the visible points in the first frame.
        shift: complex128 [M], by how much the points at hand move.
        turn: rotation and scale.
    """

    points: Complex
    shift: Complex
    turn: complex


@dataclass(frozen=True, eq=False)
class LocalFrames:
    """shift complex128 [M]: by how much the subject around each place moves; a, b complex128 [M]: its linear part;
    told bool [M]: whether enough of the flow is believed."""

    shift: Complex
    a: Complex
    b: Complex
    told: BoolArray

    def applied(self, offset: Complex) -> Complex:
        """The offsets [M] in the neighbour frame."""
        return self.a * offset + self.b * offset.conj()


def fit_local_frames(
    step: FlowStep, places: Complex, expected: Expected, radius: float, largest_miss: float
) -> LocalFrames:
    """Affine maps fitted to the flow on the subject around places [M], each sample weighted by a Gaussian of `radius`.

    A sample counts where the flow back from its end misses it by at most `largest_miss`, and where it is on the subject
    (`on_subject`); the less, the farther it is off the common motion (Cauchy weights, which start from `expected`).
    A weak prior holds the linear part to the turn of the tracked points: in windows without texture there is little
    else to go by.
    """
    window = np.linspace(-2, 2, _SIDE) + 1j * np.linspace(-2, 2, _SIDE)[:, None]
    window = window.ravel()
    samples = places[:, None] + radius * window
    flow, miss = _read(step, samples)
    trusted = np.exp(-0.5 * np.abs(window) ** 2) * (miss <= largest_miss) * on_subject(step, samples, expected.points)
    rest = flow - expected.shift[:, None] - (expected.turn - 1) * radius * window
    off, columns = np.abs(rest), np.stack([np.ones_like(window), window, window.conj()], axis=-1)
    for scale in _AGREE:
        fit = _least_squares(columns, rest, trusted / (1 + (off / scale) ** 2))
        off = np.abs(rest - fit @ columns.T)
    shift, a, b = fit.T
    told = ((trusted > 0) & (off < _AGREE[-1])).sum(1) >= _FEWEST
    return LocalFrames(expected.shift + shift, expected.turn + a / radius, b / radius, told)


def on_subject(step: FlowStep, places: Complex, points: Complex) -> BoolArray:
    """bool [...], whether places [...] are on the subject in the step's first frame: on its mask; without masks within
    the convex hull of its visible points [N], or nearly."""
    height, width = step.ahead.shape[:2]
    x, y = np.rint(places.real).astype(np.intp), np.rint(places.imag).astype(np.intp)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if step.subject is None:
        return np.asarray(inside & inside_hull(points, places, _MARGIN))
    return np.asarray(inside & step.subject[y.clip(0, height - 1), x.clip(0, width - 1)])


def _read(step: FlowStep, places: Complex) -> tuple[Complex, Real]:
    """The flow at places [...], and by how much the flow back misses them."""
    xy = as_points(places)
    flow = read_at(step.ahead, xy)
    return as_complex(flow), np.linalg.norm(flow + read_at(step.back, xy + flow), axis=-1).astype(np.float64)


def _least_squares(columns: Complex, goal: Complex, weight: Real) -> Complex:
    """The weighted ridge regression [M, 3] of goal [M, K] on columns [K, 3], of which the first one is free."""
    weighed = weight[..., None] * columns.conj()
    ridge = np.diag([1e-9, _PRIOR, _PRIOR])
    normal = np.einsum("mki,kj->mij", weighed, columns) + ridge
    return np.asarray(np.linalg.solve(normal, np.einsum("mki,mk->mi", weighed, goal)[..., None])[..., 0])
