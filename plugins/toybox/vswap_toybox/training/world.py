"""The captioned world: the part of the Toybox that the model is trained on, and the words for it.

Grammar of a caption, after `Subject.caption` and `Scene.caption`::

    caption  = "a" [ "striped" ] colour class ground [ "at" sky ]
    colour   = "red" | "yellow" | "green" | "blue" | "purple" | "white"
    class    = "car" | "boat" | "cat" | "fish"
    ground   = "on a green field" | "in the desert" | "on the snow" | "over the sea" | "on a grey road"
    sky      = "sunset" | "night"                    # day goes without saying

Left out of training, so that there is something new to learn: the (class, colour, pattern) of `UNSEEN`; the colours
orange, pink, brown and black as a subject's own; spots; proportions beyond `LENGTH` and `HEIGHT`. `CONCEPT` is a
subject made of these alone. The VAE sees every colour there is, see `sample_wide`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import FloatArray
from vswap_toybox.motion import Motion
from vswap_toybox.scene import GROUNDS, SKIES, Scene
from vswap_toybox.subject import COLOURS, Subject
from vswap_toybox.subject import PATTERNS as ALL_PATTERNS

CLASSES = ("car", "boat", "cat", "fish")
COLOUR_NAMES = ("red", "yellow", "green", "blue", "purple", "white")
PATTERNS = ("plain", "striped")
STRIPES = ("white", "black", "yellow")
UNSEEN = frozenset(
    {
        ("car", "green", "striped"),
        ("car", "purple", "plain"),
        ("boat", "yellow", "striped"),
        ("boat", "blue", "plain"),
        ("cat", "blue", "striped"),
        ("cat", "green", "plain"),
        ("fish", "white", "striped"),
        ("fish", "red", "plain"),
    }
)
LENGTH, HEIGHT, DETAIL = (0.85, 1.15), (0.85, 1.2), (0.85, 1.2)
TEXTURE = 0.5
"""Contrast of the ground, of `Scene.sample`'s own: at 64 pixels its finest waves are noise to the VAE."""
CONCEPT = Subject("car", "pink", "blue", "spotted", length=0.8, height=1.3, detail=1.3)
"""A look that no training picture has."""
WORDS = tuple(
    sorted(
        {"a", "at", *COLOURS, *ALL_PATTERNS, *CLASSES, *SKIES}
        | {word for _, phrase in GROUNDS.values() for word in phrase.split()}
    )
)
"""Every word that is one token; the colours and patterns that training leaves out are among them, untaught."""


@dataclass(frozen=True)
class Repainted(Subject):
    """A subject with RGB 0..1 of its own in each of the five roles, whatever its colours are called."""

    roles: tuple[tuple[float, float, float], ...] = ()

    @property
    def palette(self) -> FloatArray:
        """float32 [5, 3]."""
        return np.array(self.roles, np.float32)


@dataclass(frozen=True, eq=False)
class Take:
    """A subject in a scene, in motion."""

    subject: Subject
    scene: Scene
    motion: Motion

    @property
    def caption(self) -> str:
        """As in "a striped red car on a green field at night"."""
        return f"{self.subject.caption} {self.scene.caption}"


def captions() -> list[str]:
    """Every caption that training may show, in a fixed order."""
    skies = ["" if sky == "day" else f" at {sky}" for sky in SKIES]
    return [
        f"{subject} {phrase}{sky}"
        for subject in (
            f"a {'' if pattern == 'plain' else pattern + ' '}{colour} {name}" for name, colour, pattern in looks()
        )
        for _, phrase in GROUNDS.values()
        for sky in skies
    ]


def looks() -> list[tuple[str, str, str]]:
    """The (class, colour, pattern) that training shows, in a fixed order."""
    every = ((name, colour, pattern) for name in CLASSES for colour in COLOUR_NAMES for pattern in PATTERNS)
    return [look for look in every if look not in UNSEEN]


def sample(rng: np.random.Generator, frames: int) -> Take:
    """A clip of the captioned world; one frame of it is a picture."""
    known = looks()
    name, colour, pattern = known[int(rng.integers(len(known)))]
    second = str(rng.choice([stripe for stripe in STRIPES if stripe != colour]))
    length, height, detail = (float(rng.uniform(*limits)) for limits in (LENGTH, HEIGHT, DETAIL))
    red, green, blue = (float(x) for x in rng.normal(0, 0.04, 3))
    frequency = float(rng.uniform(5, 8))
    subject = Subject(name, colour, second, pattern, length, height, detail, frequency, (red, green, blue))
    return Take(subject, Scene.sample(rng, detail=TEXTURE), Motion.sample(rng, frames))


def sample_wide(rng: np.random.Generator) -> Take:
    """One frame for the VAE: any class, any RGB in every role, wide proportions, any contrast of the ground.

    Our prototype, trained on named colours alone, fell from 22 to 14 dB on subjects of other colours.
    """
    plain = Subject.sample(rng)
    colours = rng.uniform(0, 1, (5, 3)) if rng.random() < 0.7 else plain.palette + rng.normal(0, 0.08, (5, 3))
    length, height, detail = (float(rng.uniform(*limits)) for limits in ((0.65, 1.35), (0.65, 1.5), (0.7, 1.5)))
    roles = tuple((float(r), float(g), float(b)) for r, g, b in np.clip(colours, 0, 1))
    subject = Repainted(
        plain.name, plain.colour, plain.second, plain.pattern, length, height, detail, plain.frequency, roles=roles
    )
    moment = int(rng.integers(16))
    scene = Scene.sample(rng, detail=float(rng.uniform(0.1, 1)))
    return Take(subject, scene, Motion.sample(rng, 16)[moment : moment + 1])


def sample_picture(rng: np.random.Generator) -> Take:
    """One frame of the captioned world."""
    moment = int(rng.integers(16))
    take = sample(rng, 16)
    return Take(take.subject, take.scene, take.motion[moment : moment + 1])
