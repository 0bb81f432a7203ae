"""The projective or affine map of every frame from one of them, fitted to tracked points.

Points of the plane are complex numbers here, as in `turns`. With v = z, or its conjugate in frames that show the
subject's other side, a map is

    M(z) = (a v + b conj(v) + c) / (1 + Re(conj(g) z))

with a the similarity, b what an affine map adds to it and g what a homography adds to that. Multiplied by the
denominator it is linear in (a, b, c, g) (the direct linear transform: Hartley & Zisserman, "Multiple View Geometry",
2nd ed., section 4.1), and dividing each point's rows by its last denominator makes the misfit one in pixels (their
section 4.4.3).

`b` and `g` are held to 0 by ridges. That of `b` is as strong as the points' own errors, of `noise` pixels each: across
a line of points, whose width is all noise, nothing is learned from it. That of `g` is a Gaussian prior against what the
last fit left over. So four well spread points give a homography, three an affine map, two (or several on a line) a
similarity, and all that lies in between gives something in between, without a threshold that frames could fall to
either side of.

One bad track doesn't matter, as in `turns`: the fit starts from the similarity, which is robust, and then weighs each
point by how far it is off (Cauchy weights), first with an affine map, then with all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vswap_canonical.turns import Complex, Real, fit_turns, median
from vswap_kernel.types import BoolArray

_PERSPECTIVE_PRIOR = 0.05  # deviation of g expected, per spread of the points
_WEAKEST = 1e-9  # ridge on a and c: it only keeps frames without any point solvable
_SMALLEST_DENOMINATOR = 0.2  # nearer to the horizon, places are held back
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class PlaneMaps:
    """Maps of T frames in units of `spread` pixels around `centre`, both of the reference frame.

    Attributes:
        centre, spread: the mean of the reference points, and how far they are from it (root mean square).
        similarity, affine, perspective: complex128 [T], a, b and g.
        origin: complex128 [T], where `centre` goes, in pixels.
        mirrored: bool [T], whether v is the conjugate of z.
        known: bool [T], whether enough is seen; elsewhere a is interpolated and b and g are 0.
        weights: float64 [T, N], how far each point was believed, 0..1.
    """

    centre: complex
    spread: float
    similarity: Complex
    affine: Complex
    perspective: Complex
    origin: Complex
    mirrored: BoolArray
    known: BoolArray
    weights: Real

    def at(self, places: Complex) -> Complex:
        """Places [M] of the reference frame in every frame: [T, M]."""
        z = (places - self.centre) / self.spread
        return self.origin[:, None] + self.spread * self._linear(z) / self.denominator(z)

    def jacobian(self, places: Complex, offset: Complex) -> Complex:
        """What the map's linear part at places [M] makes of offsets [M]: [T, M]."""
        z, step = (places - self.centre) / self.spread, offset / self.spread
        below = self.denominator(z)
        slope = (self.perspective.conj()[:, None] * step).real * (below > _SMALLEST_DENOMINATOR)
        return self.spread * (self._linear(step) - self._linear(z) / below * slope) / below

    def _linear(self, z: Complex) -> Complex:
        v = np.where(self.mirrored[:, None], z.conj(), z)
        return self.similarity[:, None] * v + self.affine[:, None] * v.conj()

    def denominator(self, z: Complex) -> Real:
        """1 + Re(conj(g) z) of places [M] in spreads around the centre: [T, M], never near 0."""
        below = 1 + (self.perspective.conj()[:, None] * z).real
        return np.asarray(np.maximum(below, _SMALLEST_DENOMINATOR))


def fit_plane_maps(
    places: Complex, visible: BoolArray, frame: int, *, noise: float, perspective: bool, mirror: bool = True
) -> PlaneMaps:
    """The map of every frame from `frame`.

    Args:
        places: [T, N] pixels.
        visible: [T, N]; a frame's fit rests on the points that are visible both there and in `frame`.
        frame: the reference.
        noise: how far tracks are off, in pixels.
        perspective: fit homographies, not affine maps.
        mirror: whether a frame may show a mirror image (see `fit_turns`).
    """
    turns = fit_turns(places, visible, frame, mirror=mirror)
    shared = visible & visible[frame] & turns.known[:, None]
    seen = places[frame, visible[frame]]
    centre = complex(seen.mean()) if seen.size else 0j
    spread = max(1.0, float(np.sqrt((np.abs(seen - centre) ** 2).mean()))) if seen.size else 1.0
    source = (places[frame] - centre) / spread
    start = median(places - spread * turns.applied(source), shared)
    target = (places - start[:, None]) / spread
    off = np.abs(target - turns.applied(source))
    none = np.zeros(len(places), np.complex128)
    maps = PlaneMaps(0j, 1.0, turns.factor, none, none, none, turns.mirrored, turns.known, off)
    for round_ in range(2 * _ROUNDS):
        scale = np.maximum(noise / spread, median(off + 0j, shared).real)[:, None]
        weights = shared / (1 + (off / scale) ** 2)
        maps = _fitted(source, target, weights, maps, noise / spread, scale[:, 0], perspective and round_ >= _ROUNDS)
        off = np.abs(target - maps.at(source))
    return replace(maps, centre=centre, spread=spread, origin=start + spread * maps.origin)


def _fitted(
    source: Complex, target: Complex, weights: Real, last: PlaneMaps, noise: float, misfit: Real, perspective: bool
) -> PlaneMaps:
    """The ridge regression of source [N] to target [T, N], both in spreads, with weights [T, N]."""
    z = np.broadcast_to(source, target.shape)
    v = np.where(last.mirrored[:, None], z.conj(), z)
    one, tilt = np.ones_like(z), -target if perspective else np.zeros_like(target)
    columns = np.stack([v, 1j * v, v.conj(), 1j * v.conj(), one, 1j * one, tilt * z.real, tilt * z.imag], -1)
    weighed = (weights / last.denominator(source) ** 2)[..., None] * columns.conj()
    normal = np.einsum("tni,tnj->tij", weighed, columns).real
    goal = np.einsum("tni,tn->ti", weighed, target).real
    # b changes what is across a line of points by twice as much as it is itself: hence 4
    stiff = 4 * weights.sum(1) * noise**2 + _WEAKEST, (misfit / _PERSPECTIVE_PRIOR) ** 2
    weak = np.full(len(target), _WEAKEST)
    ridge = np.stack([weak, weak, stiff[0], stiff[0], weak, weak, stiff[1], stiff[1]], -1)
    solved = np.linalg.solve(normal + ridge[..., None] * np.eye(8), goal[..., None])[..., 0]
    a, b, c, g = (solved[:, ::2] + 1j * solved[:, 1::2]).T
    toward, away = c * g.conj() / 2, c * g / 2  # c / (1 + h) = c - c h / (1 + h): what isn't c joins a and b
    a, b = a - np.where(last.mirrored, away, toward), b - np.where(last.mirrored, toward, away)
    return replace(
        last,
        similarity=np.where(last.known, a, last.similarity),
        affine=np.where(last.known, b, 0),
        perspective=np.where(last.known, g, 0),
        origin=c,
        weights=weights,
    )
