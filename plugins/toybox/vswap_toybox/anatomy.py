"""What the subjects are made of: the parts of each class, and the six named points that sit on them.

A subject's own frame has x towards its front and y up, and it spans about -1..1. Parts are painted in order. A named
point is (part, u, v): u and v count in half sizes of that part, so that it follows the part however it is stretched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

POINT_NAMES = ("front", "back", "top", "bottom_front", "bottom_back", "centre")


class Role(IntEnum):
    """Which of a subject's five colours a part is painted in."""

    PRIMARY = 0
    SECONDARY = 1
    DARK = 2
    LIGHT = 3
    GLASS = 4


@dataclass(frozen=True)
class Part:
    """One piece of a subject: an ellipse, or a rounded box that tapers towards its own top.

    Attributes:
        shape: "ellipse" or "box".
        x, y: centre; half_width, half_height: half sizes; rotation: radians, counter-clockwise.
        taper: how much narrower a box is at its top, 0..1.
        role: its colour.
        swing: amplitude in radians of a swing about `pivot` (the centre when None).
        spin: True for what turns about its centre, once a phase.
        lag: phase offset, in turns.
    """

    shape: str
    x: float
    y: float
    half_width: float
    half_height: float
    rotation: float = 0.0
    taper: float = 0.0
    role: Role = Role.PRIMARY
    swing: float = 0.0
    spin: bool = False
    lag: float = 0.0
    pivot: tuple[float, float] | None = None


@dataclass(frozen=True)
class Anatomy:
    """The parts of a class, and its points (part index, u, v) in the order of `POINT_NAMES`."""

    parts: tuple[Part, ...]
    points: tuple[tuple[int, float, float], ...]


_P, _S, _D, _L, _G = Role
_TURN = math.pi

_CAR = Anatomy(
    (
        Part("box", -0.1, 0.3, 0.52, 0.22, taper=0.45),
        Part("box", -0.1, 0.29, 0.36, 0.13, taper=0.4, role=_G),
        Part("box", 0.0, -0.03, 0.92, 0.22),
        Part("ellipse", 0.55, -0.3, 0.24, 0.24, role=_D),
        Part("ellipse", -0.55, -0.3, 0.24, 0.24, role=_D),
        Part("box", 0.55, -0.3, 0.17, 0.05, role=_L, spin=True),
        Part("box", -0.55, -0.3, 0.17, 0.05, role=_L, spin=True),
        Part("ellipse", 0.82, 0.02, 0.08, 0.08, role=_L),
    ),
    ((2, 0.93, 0.0), (2, -0.93, 0.0), (0, 0.0, 0.8), (3, 0.0, 0.0), (4, 0.0, 0.0), (2, 0.0, 0.0)),
)
_BOAT = Anatomy(
    (
        Part("box", 0.0, 0.3, 0.035, 0.48, role=_D),
        Part("box", 0.26, 0.3, 0.26, 0.36, taper=0.95, role=_S, swing=0.15, pivot=(0.0, 0.0)),
        Part("box", -0.2, 0.25, 0.18, 0.28, taper=0.95, role=_L, swing=0.15, pivot=(0.0, 0.0)),
        Part("box", 0.0, -0.28, 0.92, 0.2, rotation=_TURN, taper=0.4),
        Part("box", -0.55, -0.02, 0.2, 0.11, role=_S),
        Part("ellipse", 0.5, -0.2, 0.08, 0.08, role=_L),
        Part("ellipse", 0.1, -0.2, 0.08, 0.08, role=_L),
    ),
    ((3, -0.9, -0.7), (3, 0.9, -0.7), (0, 0.0, 0.92), (3, -0.54, 0.8), (3, 0.54, 0.8), (3, 0.0, 0.0)),
)
_CAT = Anatomy(
    (
        Part("box", -0.78, 0.28, 0.07, 0.32, rotation=0.3, swing=0.4, pivot=(-0.6, 0.05)),
        Part("box", 0.42, -0.38, 0.09, 0.26, role=_S, swing=0.4, pivot=(0.42, -0.15)),
        Part("box", -0.42, -0.38, 0.09, 0.26, role=_S, swing=0.4, lag=0.5, pivot=(-0.42, -0.15)),
        Part("ellipse", 0.0, 0.0, 0.62, 0.28),
        Part("box", 0.55, 0.5, 0.09, 0.12, taper=0.9, role=_S),
        Part("box", 0.8, 0.5, 0.09, 0.12, taper=0.9, role=_S),
        Part("ellipse", 0.68, 0.26, 0.27, 0.24),
        Part("ellipse", 0.78, 0.3, 0.05, 0.06, role=_D),
        Part("ellipse", 0.92, 0.18, 0.06, 0.05, role=_D),
    ),
    ((8, 0.0, 0.0), (0, 0.0, 0.85), (6, 0.0, 0.85), (1, 0.0, -0.8), (2, 0.0, -0.8), (3, 0.0, 0.0)),
)
_PLANE = Anatomy(
    (
        Part("box", -0.78, 0.26, 0.16, 0.24, rotation=0.25, taper=0.5, role=_S),
        Part("box", 0.35, -0.3, 0.03, 0.12, role=_D),
        Part("ellipse", 0.35, -0.42, 0.09, 0.09, role=_D),
        Part("box", -0.45, -0.25, 0.03, 0.1, role=_D),
        Part("ellipse", -0.45, -0.36, 0.07, 0.07, role=_D),
        Part("ellipse", 0.0, 0.0, 0.95, 0.22),
        Part("ellipse", 0.5, 0.08, 0.16, 0.08, role=_G),
        Part("box", -0.05, -0.05, 0.2, 0.34, rotation=2.6, taper=0.4, role=_S, swing=0.12, pivot=(0.0, 0.0)),
        Part("box", 0.96, 0.0, 0.035, 0.34, role=_D, spin=True),
    ),
    ((5, 0.93, 0.0), (5, -0.93, 0.0), (0, 0.0, 0.8), (2, 0.0, 0.0), (4, 0.0, 0.0), (5, 0.0, 0.0)),
)
_FISH = Anatomy(
    (
        Part("box", -0.76, 0.0, 0.26, 0.26, rotation=-_TURN / 2, taper=0.8, role=_S, swing=0.5, pivot=(-0.55, 0.0)),
        Part("box", 0.0, 0.36, 0.3, 0.16, taper=0.6, role=_S),
        Part("box", 0.15, -0.38, 0.14, 0.16, rotation=_TURN, taper=0.6, role=_S, swing=0.35, pivot=(0.15, -0.2)),
        Part("box", -0.35, -0.3, 0.12, 0.12, rotation=_TURN, taper=0.6, role=_S),
        Part("ellipse", 0.1, 0.0, 0.72, 0.34),
        Part("ellipse", 0.55, 0.1, 0.09, 0.09, role=_L),
        Part("ellipse", 0.57, 0.1, 0.05, 0.05, role=_D),
        Part("ellipse", 0.74, -0.06, 0.06, 0.03, role=_D),
    ),
    ((4, 0.93, 0.0), (0, 0.0, -0.8), (1, 0.0, 0.75), (2, 0.0, 0.75), (3, 0.0, 0.75), (4, 0.0, 0.0)),
)
_BIRD = Anatomy(
    (
        Part("box", -0.68, -0.02, 0.26, 0.1, rotation=-0.25, role=_S),
        Part("box", 0.12, -0.42, 0.035, 0.18, role=_D, swing=0.3, pivot=(0.12, -0.2)),
        Part("box", -0.18, -0.42, 0.035, 0.18, role=_D, swing=0.3, lag=0.5, pivot=(-0.18, -0.2)),
        Part("box", 0.88, 0.3, 0.1, 0.14, rotation=-_TURN / 2, taper=0.9, role=_L),
        Part("ellipse", 0.0, 0.0, 0.55, 0.28),
        Part("ellipse", 0.58, 0.3, 0.23, 0.21),
        Part("ellipse", 0.65, 0.35, 0.05, 0.05, role=_D),
        Part("box", -0.12, 0.32, 0.2, 0.4, taper=0.7, role=_S, swing=0.8, pivot=(-0.1, 0.05)),
    ),
    ((3, 0.0, 0.7), (0, -0.85, 0.0), (5, 0.0, 0.85), (1, 0.0, -0.85), (2, 0.0, -0.85), (4, 0.0, 0.0)),
)

ANATOMIES = {"car": _CAR, "boat": _BOAT, "cat": _CAT, "plane": _PLANE, "fish": _FISH, "bird": _BIRD}
