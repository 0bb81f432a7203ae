"""How near carried drags are to where the moved points truly go."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray
from vswap_toybox.evaluation.canonical.drags import Drags

FIGURES = ("mean_px", "p95_px", "validity", "fit_seconds", "drag_ms")
DETAILS = ("rigid_px", "swinging_px", "outside_px")


@dataclass(frozen=True, eq=False)
class Carried:
    """What a canonical says of `Drags`, in their order: delta float32 [T, N, 2] pixels, valid bool [T, N]; and how long
    it took to learn, and to carry each one (median)."""

    delta: FloatArray
    valid: BoolArray
    fit_seconds: float
    drag_ms: float


def distances(drags: Drags, delta: FloatArray) -> FloatArray:
    """float32 [T, N] pixels between the carried moves and the true ones."""
    return np.asarray(np.linalg.norm(delta - drags.delta, axis=-1))


def figures(drags: Drags, carried: Carried) -> dict[str, float | None]:
    """By the names of FIGURES and DETAILS; None where there is nothing to judge.

    Distances count in the frames in which the point itself is visible. validity: share of (frame, point) whose `valid`
    is what `Drags.visible` is. The details are of the points on parts that move with the subject as a whole, of those
    on parts that swing, and of those moved beyond its outline.
    """
    away, seen = distances(drags, carried.delta), drags.visible
    kinds = {"rigid_px": ~drags.swings, "swinging_px": drags.swings, "outside_px": drags.outside}
    found = {
        "mean_px": _mean(away[seen]),
        "p95_px": float(np.percentile(away[seen], 95)) if seen.any() else None,
        "validity": _mean(carried.valid == seen),
        "fit_seconds": carried.fit_seconds,
        "drag_ms": carried.drag_ms,
    }
    found |= {name: _mean(away[:, kind][seen[:, kind]]) for name, kind in kinds.items()}
    return {name: _plain(value) for name, value in found.items()}


def _mean(values: FloatArray | BoolArray) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None


def _plain(value: float | None) -> float | None:
    """A JSON value; rounded, for the last digits of a sum depend on the machine."""
    return round(value, 4) if value is not None and isfinite(value) else None
