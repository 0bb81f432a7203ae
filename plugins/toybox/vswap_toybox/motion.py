"""How a subject and the camera move: one number a frame for each degree of freedom."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from vswap_kernel.types import FloatArray
from vswap_toybox.affine import Affine, affine, chain, rotation, scaling, translation

_ONES = ("squash", "facing", "swing", "view")  # fields that are 1 at rest; others are 0


@dataclass(frozen=True, eq=False)
class Motion:
    """Every field is float32 [T]. Lengths are in units of half the shorter side of the picture.

    Attributes:
        time: 0..1 over the clip.
        x, y: the subject's centre, from the middle of the picture, y up.
        rotation: radians; scale: the picture's units in one unit of the subject.
        squash: how much its length is shortened, 1 for not at all; shear: how much it leans.
        facing: 1 when it looks right, -1 when it looks left.
        phase: of its moving parts, in turns; swing: how far they swing, 1 for as far as its anatomy says.
        pan_x, pan_y: where the camera looks; view: how much it takes in, 1 for the whole background once.
    """

    time: FloatArray
    x: FloatArray
    y: FloatArray
    rotation: FloatArray
    scale: FloatArray
    squash: FloatArray
    shear: FloatArray
    facing: FloatArray
    phase: FloatArray
    swing: FloatArray
    pan_x: FloatArray
    pan_y: FloatArray
    view: FloatArray

    def __post_init__(self) -> None:
        for item in fields(self):
            array = getattr(self, item.name)
            if array.dtype != np.float32 or array.shape != self.time.shape or array.ndim != 1:
                raise ValueError(f"Motion.{item.name}: expected float32 [T], got {array.dtype} {list(array.shape)}")

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, frames: slice) -> Motion:
        """The same motion in some of the frames only."""
        return Motion(*(getattr(self, item.name)[frames] for item in fields(self)))

    @classmethod
    def of(cls, frames: int, **courses: ArrayLike) -> Motion:
        """A subject of scale 0.6 that rests in the middle, but for `courses`: numbers, or arrays [T]."""
        unknown = set(courses) - {item.name for item in fields(cls)}
        if unknown:
            raise TypeError(f"Motion.of: no such field: {', '.join(sorted(unknown))}")
        rest = {"time": np.linspace(0, 1, frames), "scale": 0.6} | dict.fromkeys(_ONES, 1.0)
        values = {item.name: courses.get(item.name, rest.get(item.name, 0.0)) for item in fields(cls)}
        return cls(**{name: np.broadcast_to(np.asarray(v, np.float32), frames).copy() for name, v in values.items()})

    @classmethod
    def sample(cls, rng: np.random.Generator, frames: int, *, facing: float | None = None) -> Motion:
        """A smooth random motion; the subject stays in view for most of it.

        Args:
            rng: every choice comes from it.
            frames: length of the clip.
            facing: 1 or -1 to set where the subject looks; drawn when None.
        """
        time = np.linspace(0, 1, frames)
        middle = time - 0.5

        def drawn(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def line(rest: float, drift: float) -> FloatArray:
            return (drawn(-rest, rest) + drawn(-drift, drift) * middle).astype(np.float32)

        def wave(slow: float, fast: float) -> FloatArray:
            return np.sin(2 * np.pi * (drawn(slow, fast) * time + drawn(0, 1))).astype(np.float32)

        heading, speed = drawn(0, 2 * np.pi), drawn(0, 0.7)
        return cls.of(
            frames,
            x=line(0.2, 0) + speed * np.cos(heading) * middle,
            y=line(0.15, 0) + 0.5 * speed * np.sin(heading) * middle + drawn(0, 0.08) * wave(0.3, 1),
            rotation=line(0.3, 0.4),
            scale=drawn(0.5, 0.7) * (1 + drawn(-0.3, 0.3) * middle),
            squash=1 - drawn(0, 0.25) * wave(0.2, 0.6) ** 2,
            shear=line(0.15, 0.1),
            facing=facing or float(rng.choice((-1, 1))),
            phase=drawn(0, 1) + drawn(0.6, 1.6) * time,
            pan_x=line(0.3, 0.5),
            pan_y=line(0.04, 0.08),
            view=1 + drawn(-0.2, 0.2) * middle,
        )

    def subject_to_pixels(self, size: tuple[int, int]) -> Affine:
        """[T, 2, 3] from the subject's own frame to pixels of a picture of `size` (width, height)."""
        lean = affine(self.squash, self.shear * self.squash, 0, 0, 1, 0)
        turned = chain(scaling(self.facing * self.scale, self.scale), rotation(self.rotation), lean)
        return chain(picture_to_pixels(size), translation(self.x, self.y), turned)

    def background_to_pixels(self, size: tuple[int, int]) -> Affine:
        """[T, 2, 3] from the background's frame to pixels of a picture of `size` (width, height)."""
        zoom = 1 / self.view.astype(np.float64)
        return chain(picture_to_pixels(size), scaling(zoom, zoom), translation(-self.pan_x, -self.pan_y))


def picture_to_pixels(size: tuple[int, int]) -> Affine:
    """[2, 3] from the picture's units (origin in the middle, y up) to pixels, whose centres are at integers."""
    width, height = size
    unit = min(size) / 2
    return affine(unit, 0, (width - 1) / 2, 0, -unit, (height - 1) / 2)
