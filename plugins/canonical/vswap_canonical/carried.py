"""A drag carried by maps from the keyframe to every frame, whatever kind they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from vswap_canonical.asked import asked_moves, seen_too_little
from vswap_canonical.hulls import share_inside
from vswap_canonical.smoothing import bridged, smoothed
from vswap_canonical.turns import Complex, as_complex, as_points
from vswap_kernel.types import BoolArray, DisplacementField, PointEdit, PointTracks


class Maps(Protocol):
    """Maps of T frames from one of them; places and offsets are complex numbers x + iy in pixels."""

    @property
    def known(self) -> BoolArray:
        """bool [T], the frames that show enough of the points."""
        ...

    def at(self, places: Complex, /) -> Complex:
        """Places [M] of the reference frame in every frame: [T, M]."""
        ...

    def jacobian(self, places: Complex, offset: Complex, /) -> Complex:
        """What the maps' linear parts at places [M] make of offsets [M]: [T, M]."""
        ...


def carry(
    canonical: str,
    tracks: PointTracks,
    edit: PointEdit,
    fit: Callable[[Complex, BoolArray, int], Maps],
    smooth: float,
) -> DisplacementField:
    """The drag `edit` carried by what `fit(places [T, N], visible [T, N], frame)` makes of the tracks.

    Inside the convex hull of the points that are visible on `edit.frame`, a point moved from p to q is displaced by
    M(q) - M(p). Where the move leaves the hull, at e, the map is no longer held by points, and its linear part J there
    carries the rest: M(e) - M(p) + J(e) (q - e). On `edit.frame` itself it is q - p exactly.

    Valid where the point is visible; but a moved point isn't in frames where the maps aren't known: displacements are
    interpolated there (see `bridged`).

    Raises:
        InputError: `edit` moves a point that isn't tracked or is hidden on its frame, that is beyond the end, or it
            shows too few points.
    """
    moved, offset = asked_moves(tracks, edit)
    delta, valid = np.zeros(tracks.xy.shape, np.float32), tracks.visible.copy()
    if moved.size:
        places = as_complex(tracks.xy)
        maps = fit(places, tracks.visible, edit.frame)
        if not maps.known[edit.frame]:
            raise seen_too_little(canonical, tracks, edit.frame)
        start, whole = places[edit.frame, moved], as_complex(offset)
        inside = whole * share_inside(places[edit.frame, tracks.visible[edit.frame]], start, whole)
        end = start + inside
        carried = as_points(maps.at(end) - maps.at(start) + maps.jacobian(end, whole - inside))
        carried[edit.frame] = offset
        delta[:, moved] = smoothed(bridged(carried, maps.known), edit.frame, smooth)
        valid[:, moved] &= maps.known[:, None]
    return DisplacementField(tracks.names, delta, valid)
