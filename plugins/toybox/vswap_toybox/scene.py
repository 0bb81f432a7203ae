"""Where it happens: ground, sky and what passes in front.

Textures are sums of plane waves, sharpened. A plane wave under a camera that pans and zooms is made of products of one
function of the column and one of the row, so a whole texture is a single matrix product: no sine is taken per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vswap_kernel.types import FloatArray
from vswap_toybox.motion import Motion
from vswap_toybox.subject import Colour

GROUNDS: dict[str, tuple[Colour, str]] = {
    "field": ((0.35, 0.62, 0.25), "on a green field"),
    "desert": ((0.85, 0.7, 0.42), "in the desert"),
    "snow": ((0.82, 0.85, 0.9), "on the snow"),
    "sea": ((0.15, 0.4, 0.6), "over the sea"),
    "road": ((0.42, 0.42, 0.45), "on a grey road"),
}
SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((0.35, 0.6, 0.95), (0.75, 0.87, 0.98)),
    "sunset": ((0.5, 0.25, 0.5), (0.98, 0.6, 0.3)),
    "night": ((0.05, 0.06, 0.18), (0.2, 0.2, 0.38)),
}
OCCLUDERS = ("post", "bush")


@dataclass(frozen=True)
class Occluder:
    """What passes in front of the subject: a "post" or a "bush".

    It stands at (x, y) of the background halfway through the clip, and travels `travel` along x over the clip; 0 for
    what moves with the background. width and height are half sizes.
    """

    kind: str
    x: float
    y: float = -0.3
    width: float = 0.12
    height: float = 1.1
    travel: float = 0.0
    colour: Colour = (0.5, 0.33, 0.2)

    def __post_init__(self) -> None:
        if self.kind not in OCCLUDERS:
            raise ValueError(f"Occluder.kind: no {self.kind!r}; known: {', '.join(OCCLUDERS)}")

    @classmethod
    def across(cls, rng: np.random.Generator, motion: Motion) -> Occluder:
        """One that hides the middle of the subject at some moment in the middle third of the clip.

        It moves with the background where the subject moves enough against it, and sweeps by otherwise.
        """
        kind = str(rng.choice(OCCLUDERS))
        moment = round(float(rng.uniform(0.35, 0.65)) * (len(motion) - 1))
        place = motion.x * motion.view + motion.pan_x
        moves = abs(float(place[-1] - place[0])) > 1.6
        travel = 0.0 if moves else float(rng.choice((-1, 1)) * rng.uniform(2.2, 2.8))
        x = float(place[moment]) - travel * (float(motion.time[moment]) - 0.5)
        width = float(rng.uniform(0.08, 0.12)) * (1 if kind == "post" else 1.9)
        y, height = (-0.3, 1.1) if kind == "post" else (float(motion.y[moment]) - 0.15, float(rng.uniform(0.25, 0.4)))
        tone = ((0.5, 0.33, 0.2), (0.7, 0.7, 0.72)) if kind == "post" else ((0.1, 0.38, 0.14), (0.3, 0.42, 0.1))
        return cls(kind, x, y, width, height, travel, tone[int(rng.integers(2))])


@dataclass(frozen=True, eq=False)
class Scene:
    """Attributes:
    ground, sky: names, of `GROUNDS` and `SKIES`.
    ground_colour: RGB 0..1.
    horizon: (height, amplitude, frequency, phase) of the line between them.
    texture, clouds: float32 [K, 4] plane waves (x frequency, y frequency, phase, amplitude), radians per unit.
    contrast, sharpness: of the ground's texture.
    sun: (x, y, radius).
    occluders: what passes in front, painted in order.
    """

    ground: str
    sky: str
    ground_colour: FloatArray
    horizon: tuple[float, float, float, float]
    texture: FloatArray
    clouds: FloatArray
    contrast: float
    sharpness: float
    sun: tuple[float, float, float]
    occluders: tuple[Occluder, ...] = ()

    @classmethod
    def sample(cls, rng: np.random.Generator, *, detail: float = 1.0) -> Scene:
        """A random scene; `detail` scales the ground's contrast (0 for a flat one)."""
        ground, sky = str(rng.choice(list(GROUNDS))), str(rng.choice(list(SKIES), p=(0.6, 0.2, 0.2)))
        colour = np.clip(np.array(GROUNDS[ground][0]) + rng.normal(0, 0.02, 3), 0, 1).astype(np.float32)
        limits = ((-0.2, 0.25), (0, 0.12), (1.5, 4), (0, 2 * np.pi))
        height, swell, frequency, phase = (float(rng.uniform(*pair)) for pair in limits)
        sun = (float(rng.uniform(-1.2, 1.2)), float(rng.uniform(0.45, 0.85)), float(rng.uniform(0.1, 0.2)))
        texture = plane_waves(rng, 14, (8, 40), stretch=1.6)
        clouds = plane_waves(rng, 8, (2.5, 12), stretch=2.2)
        contrast, sharpness = float(rng.uniform(0.12, 0.24)) * detail, float(rng.uniform(0.8, 2.2))
        horizon = (height, swell, frequency, phase)
        return cls(ground, sky, colour, horizon, texture, clouds, contrast, sharpness, sun)

    def occluded(self, *occluders: Occluder) -> Scene:
        """The same scene with these in front."""
        return replace(self, occluders=occluders)

    @property
    def caption(self) -> str:
        """As in "in the desert at night"."""
        return GROUNDS[self.ground][1] + ("" if self.sky == "day" else f" at {self.sky}")


def plane_waves(rng: np.random.Generator, count: int, limits: tuple[float, float], *, stretch: float) -> FloatArray:
    """float32 [count, 4] waves in all directions, their frequencies spread evenly over the octaves of `limits`.

    Their sum has unit variance; `stretch` is how much finer it is along y than along x, as a plain seen from its edge.
    """
    frequency = np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]), count))
    heading, phase = rng.uniform(0, np.pi, count), rng.uniform(0, 2 * np.pi, count)
    amplitude = np.full(count, np.sqrt(2 / count))
    across, up = frequency * np.cos(heading) / np.sqrt(stretch), frequency * np.sin(heading) * np.sqrt(stretch)
    return np.stack([across, up, phase, amplitude], 1).astype(np.float32)
