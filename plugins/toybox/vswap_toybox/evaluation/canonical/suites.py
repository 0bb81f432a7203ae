"""The suites: clips whose subject turns and grows enough that a copied drag is clearly wrong."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vswap_kernel.errors import ConfigError, InputError, nearest_first
from vswap_toybox.clip import Clip, make_clip
from vswap_toybox.evaluation.canonical.drags import Drags, sample_moves, subject_length, true_drags
from vswap_toybox.evaluation.suites import broadside, turning
from vswap_toybox.motion import Motion
from vswap_toybox.rendering import subject_tracks
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import CLASSES, Subject

LENGTH = 64
_SHORTEST, _LONGEST = 24, 512
_FRAMES = (16, 24)  # the shortest and the longest clip
_ATTEMPTS = 40
_SEEN = 0.9  # share of (frame, point) that a clip shows, if a few attempts find one

Stage = tuple[Scene, Motion]


@dataclass(frozen=True)
class Suite:
    """Attributes:
    summary: what it tries.
    turn: how far the subject turns in the picture's plane, 1 for 40 to 75 degrees.
    stage: what else happens to a scene and a motion.
    turns: whether the subject turns out of the picture's plane; the points are set where it is seen from the side.
    """

    summary: str
    turn: float = 1.0
    stage: Callable[[np.random.Generator, Stage], Stage] | None = None
    turns: bool = False


def suite_named(name: str) -> Suite:
    """The suite of that name; raises ConfigError with the nearest names."""
    if name not in SUITES:
        raise ConfigError(f"--suite: no suite {name!r}; {nearest_first(name, SUITES)}")
    return SUITES[name]


def check_length(length: int) -> int:
    """The length itself; raises InputError for one that can't be judged or rendered in reasonable time."""
    if not _SHORTEST <= length <= _LONGEST:
        raise InputError(f"--length {length}: expected {_SHORTEST} to {_LONGEST} pixels")
    return length


def suite_clip(name: str, seed: int, index: int, length: int = LENGTH) -> tuple[Clip, Drags]:
    """Clip `index` of a suite, and the drags of its points: the same arguments give the same bytes.

    Args:
        name: of the suite.
        seed, index: which clip; classes take turns.
        length: of the subject in pixels, half the width of the frame: the geometric mean over the clip.
    """
    suite = suite_named(name)
    rng = np.random.default_rng([seed, zlib.crc32(f"canonical/{name}".encode()), index])
    subject, size = Subject.sample(rng, CLASSES[index % len(CLASSES)]), (2 * length, 2 * length)
    scene, motion = _staged(rng, suite, subject, size)
    keyframe = broadside(subject, scene, motion, size) if suite.turns else _keyframe(rng, subject, scene, motion, size)
    clip = make_clip(subject, subject, scene, motion, size, keyframe=keyframe)
    return clip, true_drags(clip, sample_moves(rng, clip))


def _staged(rng: np.random.Generator, suite: Suite, subject: Subject, size: tuple[int, int]) -> Stage:
    """A scene and a motion in which the subject shows all its points at once, and most of them most of the time."""
    scene, frames = Scene.sample(rng), int(rng.integers(_FRAMES[0], _FRAMES[1] + 1))
    for _ in range(_ATTEMPTS):
        plain = scene, _moving(rng, frames, subject_length(subject), suite.turn)
        staged = suite.stage(rng, plain) if suite.stage else plain
        shown = subject_tracks(subject, *plain, size).visible  # what passes in front may hide more
        if shown.mean() >= _SEEN and subject_tracks(subject, *staged, size).visible.all(1).any():
            break
    return staged


def _moving(rng: np.random.Generator, frames: int, length: float, turn: float) -> Motion:
    """The world's own motion, with more rotation, growth and camera.

    The subject turns by 40 to 75 degrees times `turn` and grows or shrinks to 1.3 to 1.65 times its size, the camera
    pans over 0.3 to 0.7 of a picture and zooms by 1.15 to 1.4: what it shows larger, it shows so with its subject.
    """
    time = np.linspace(0, 1, frames) - 0.5
    eased = np.sin(np.pi * time) / 2

    def either(low: float, high: float) -> float:
        return float(rng.choice((-1, 1)) * rng.uniform(low, high))

    view = np.exp(either(0.14, 0.34) * time)
    courses = {
        "rotation": rng.uniform(-0.3, 0.3) + turn * either(0.7, 1.3) * eased,
        "scale": np.exp(either(0.26, 0.5) * time) / view / length,
        "pan_x": rng.uniform(-0.3, 0.3) + either(0.6, 1.4) * time,
        "view": view,
    }
    base = Motion.sample(rng, frames)
    return replace(base, **{name: course.astype(np.float32) for name, course in courses.items()})


def _keyframe(rng: np.random.Generator, subject: Subject, scene: Scene, motion: Motion, size: tuple[int, int]) -> int:
    """Any of the frames with the most visible points."""
    seen = subject_tracks(subject, scene, motion, size).visible.sum(1)
    return int(rng.choice(np.flatnonzero(seen == seen.max())))


def _occluded(rng: np.random.Generator, staged: Stage) -> Stage:
    scene, motion = staged
    return scene.occluded(Occluder.across(rng, motion)), motion


SUITES = {
    "moving": Suite("the subject turns in the picture's plane and grows; the camera pans and zooms"),
    "occlusion": Suite("the same; something passes in front", stage=_occluded),
    "turning": Suite("the subject turns round, out of the picture's plane", turn=0.4, stage=turning, turns=True),
}
