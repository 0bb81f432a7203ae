"""A subject: its class, colours, pattern and proportions, and where its parts and points are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vswap_kernel.types import FloatArray
from vswap_toybox.affine import Affine, apply, chain, rotation, translation
from vswap_toybox.anatomy import ANATOMIES, POINT_NAMES, Part, Role

Colour = tuple[float, float, float]

CLASSES = tuple(ANATOMIES)
PATTERNS = ("plain", "striped", "spotted")
COLOURS: dict[str, Colour] = {
    "red": (0.85, 0.12, 0.12),
    "orange": (0.95, 0.5, 0.1),
    "yellow": (0.95, 0.85, 0.15),
    "green": (0.15, 0.6, 0.2),
    "blue": (0.15, 0.3, 0.85),
    "purple": (0.5, 0.15, 0.7),
    "pink": (0.95, 0.55, 0.7),
    "white": (0.95, 0.95, 0.95),
    "black": (0.1, 0.1, 0.12),
    "brown": (0.45, 0.27, 0.12),
}
_FIXED: tuple[Colour, ...] = ((0.12, 0.12, 0.14), (0.95, 0.92, 0.75), (0.6, 0.8, 0.9))


@dataclass(frozen=True)
class Subject:
    """Attributes:
    name: its class, one of `CLASSES`.
    colour, second: names of its main colour and of its pattern and smaller parts, of `COLOURS`.
    pattern: one of `PATTERNS`.
    length, height: its proportions, 1 for the class's own; any numbers near 1 will do.
    detail: size of wheels, eyes and the like.
    frequency: how fine the pattern is.
    tint: added to both colours, so that no two reds are the same.
    """

    name: str
    colour: str
    second: str
    pattern: str = "plain"
    length: float = 1.0
    height: float = 1.0
    detail: float = 1.0
    frequency: float = 6.5
    tint: Colour = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        known = (("name", CLASSES), ("colour", COLOURS), ("second", COLOURS), ("pattern", PATTERNS))
        for field, names in known:
            if getattr(self, field) not in names:
                raise ValueError(f"Subject.{field}: no {getattr(self, field)!r}; known: {', '.join(names)}")

    @classmethod
    def sample(cls, rng: np.random.Generator, name: str | None = None) -> Subject:
        """A random subject, of the class `name` if it is given."""
        name = name or str(rng.choice(CLASSES))
        colour, second = (str(each) for each in rng.choice(list(COLOURS), 2, replace=False))
        pattern = str(rng.choice(PATTERNS))
        length, height, detail = (float(rng.uniform(*limits)) for limits in ((0.85, 1.15), (0.85, 1.2), (0.85, 1.2)))
        red, green, blue = (float(x) for x in rng.normal(0, 0.05, 3))
        frequency = float(rng.uniform(5, 8))
        return cls(name, colour, second, pattern, length, height, detail, frequency, (red, green, blue))

    def repainted(self, rng: np.random.Generator) -> Subject:
        """The same shape in other colours and another pattern."""
        paint = Subject.sample(rng, self.name)
        while paint.colour == self.colour:
            paint = Subject.sample(rng, self.name)
        shape = {field: getattr(self, field) for field in ("length", "height", "detail")}
        return replace(paint, **shape)

    @property
    def caption(self) -> str:
        """As in "a striped red car"."""
        return " ".join(["a", *([] if self.pattern == "plain" else [self.pattern]), self.colour, self.name])

    @property
    def palette(self) -> FloatArray:
        """float32 [5, 3]: RGB 0..1 of each `Role`."""
        primary, second = np.array([COLOURS[self.colour], COLOURS[self.second]]) + np.array(self.tint)
        if self.pattern == "plain":
            second = primary * 0.65 if primary.mean() > 0.5 else primary * 0.6 + 0.3
        palette: FloatArray = np.clip(np.array([primary, second, *_FIXED]), 0, 1).astype(np.float32)
        return palette

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts at rest, with its proportions."""
        return tuple(self._proportioned(part) for part in ANATOMIES[self.name].parts)

    def _proportioned(self, part: Part) -> Part:
        mean, wide, high = (self.length * self.height) ** 0.5, self.length, self.height
        if abs(part.half_width - part.half_height) < 0.02 or part.spin:
            wide = high = mean
        elif abs(abs(part.rotation) - np.pi / 2) < 0.3:
            wide, high = high, wide
        detail = self.detail if part.role >= Role.DARK else 1.0
        pivot = part.pivot and (part.pivot[0] * self.length, part.pivot[1] * self.height)
        return replace(
            part,
            x=part.x * self.length,
            y=part.y * self.height,
            half_width=part.half_width * wide * detail,
            half_height=part.half_height * high * detail,
            pivot=pivot,
        )

    def points(self, phase: FloatArray, swing: FloatArray | None = None) -> FloatArray:
        """float32 [T, 6, 2]: the points of `POINT_NAMES` in the subject's own frame, its parts as `part_to_subject`."""
        parts, places = self.parts, np.empty((len(phase), len(POINT_NAMES), 2), np.float32)
        for i, (index, u, v) in enumerate(ANATOMIES[self.name].points):
            part = parts[index]
            here = np.array([[u * part.half_width, v * part.half_height]])
            places[:, i] = apply(part_to_subject(part, phase, swing), here)[:, 0]
        return places


def part_to_subject(part: Part, phase: FloatArray, swing: FloatArray | None = None) -> Affine:
    """[T, 2, 3] from the part's own frame (origin in its centre, same unit) to its subject's, at `phase` [T].

    `swing` [T] multiplies how far the part swings; None leaves it as it is. What spins has no such bound.
    """
    turns = 2 * np.pi * (phase.astype(np.float64) + part.lag)
    reach = part.swing * (1.0 if swing is None else swing.astype(np.float64))
    angle = -turns if part.spin else reach * np.sin(turns)
    pivot_x, pivot_y = part.pivot or (part.x, part.y)
    arm = translation(part.x - pivot_x, part.y - pivot_y)
    return chain(translation(pivot_x, pivot_y), rotation(angle), arm, rotation(part.rotation))
