"""The suites: which clips a method is judged on. Their looks are those of the world that the Toybox model learns."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vswap_kernel.errors import ConfigError, InputError, nearest_first
from vswap_toybox.clip import Clip, make_clip
from vswap_toybox.motion import Motion
from vswap_toybox.rendering import subject_tracks
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import Subject

SIZE = (96, 96)
_CLASSES = ("car", "boat", "cat", "fish")
_COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
_PATTERNS = ("plain", "striped")
_STRIPES = ("white", "black", "yellow")
_TEXTURE = 0.5  # contrast of the ground, as where the Toybox model learnt
_ATTEMPTS = 20
_SMALLEST = 48  # pixels; below, parts are too small to be found again
_THICKNESS = 0.15  # of a subject that turns, in lengths: what is left of it when it is seen end-on

Stage = tuple[Scene, Motion]


@dataclass(frozen=True)
class Suite:
    """Attributes:
    summary: what it tries.
    frames: length of its clips.
    change: whether the target has another class or other proportions, and the points are dragged to where it has them.
    stage: makes a scene and a motion from a random pair.
    turns: whether the subject shows itself at its full length in some frames only; the points are set on one of those.
    """

    summary: str
    frames: int = 16
    change: bool = False
    stage: Callable[[np.random.Generator, Stage], Stage] | None = None
    turns: bool = False


def suite_named(name: str) -> Suite:
    """The suite of that name; raises ConfigError with the nearest names."""
    if name not in SUITES:
        raise ConfigError(f"--suite: no suite {name!r}; {nearest_first(name, SUITES)}")
    return SUITES[name]


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (width, height) itself; raises InputError for one too small to judge."""
    if min(size) < _SMALLEST:
        raise InputError(f"--size {size[0]}x{size[1]}: too small to judge; at least {_SMALLEST}x{_SMALLEST}")
    return size


def suite_clip(name: str, seed: int, index: int, size: tuple[int, int] = SIZE) -> Clip:
    """Clip `index` of a suite: the same arguments give the same bytes, whatever the number of clips."""
    suite = suite_named(name)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    subject = _look(rng, _CLASSES[index % len(_CLASSES)])
    target = _target(rng, subject, index) if suite.change else _repainted(rng, subject)
    scene, motion = _staged(rng, suite, (subject, target), size)
    keyframe = broadside(subject, scene, motion, size) if suite.turns else None
    return make_clip(subject, target, scene, motion, size, keyframe=keyframe)


def moves(name: str, clip: Clip) -> dict[str, tuple[float, float]]:
    """What a user would drag on the keyframe: each point to where the target has it; nothing where shapes are equal."""
    return exact_moves(clip) if suite_named(name).change else {}


def exact_moves(clip: Clip) -> dict[str, tuple[float, float]]:
    """Each point's place on the keyframe in the answer, in pixels."""
    places = clip.answer_tracks.xy[clip.keyframe].round(2).astype(float).tolist()
    return {point: (x, y) for point, (x, y) in zip(clip.answer_tracks.names, places, strict=True)}


def _look(rng: np.random.Generator, name: str) -> Subject:
    colour, pattern = str(rng.choice(_COLOURS)), str(rng.choice(_PATTERNS))
    second = str(rng.choice([stripe for stripe in _STRIPES if stripe != colour]))
    length, height, detail = (float(rng.uniform(*limits)) for limits in ((0.85, 1.15), (0.85, 1.2), (0.85, 1.2)))
    red, green, blue = (float(x) for x in rng.normal(0, 0.04, 3))
    return Subject(name, colour, second, pattern, length, height, detail, float(rng.uniform(5, 8)), (red, green, blue))


def _repainted(rng: np.random.Generator, subject: Subject) -> Subject:
    """The same shape in another colour."""
    paint = _look(rng, subject.name)
    while paint.colour == subject.colour:
        paint = _look(rng, subject.name)
    return replace(paint, length=subject.length, height=subject.height, detail=subject.detail)


def _target(rng: np.random.Generator, subject: Subject, index: int) -> Subject:
    """Another class on even rounds through the classes; on odd ones the same class, long and low or short and high."""
    round_, place = divmod(index, len(_CLASSES))
    if round_ % 2 == 0:
        other = _look(rng, _CLASSES[(place + 1 + round_ // 2) % len(_CLASSES)])
        return other if other.name != subject.name else _look(rng, _CLASSES[(place + 2) % len(_CLASSES)])
    length, height = (1.25, 0.8) if rng.random() < 0.5 else (0.75, 1.3)
    return replace(_repainted(rng, subject), length=length, height=height)


def _staged(rng: np.random.Generator, suite: Suite, subjects: tuple[Subject, Subject], size: tuple[int, int]) -> Stage:
    """A scene and a motion in which both subjects show all their points in one frame, if a few attempts find one."""
    scene = Scene.sample(rng, detail=_TEXTURE)
    for _ in range(_ATTEMPTS):
        staged = (scene, Motion.sample(rng, suite.frames))
        if suite.stage is not None:
            staged = suite.stage(rng, staged)
        seen = [subject_tracks(each, *staged, size).visible.all(1) for each in subjects]
        if (seen[0] & seen[1]).any():
            break
    return staged


def broadside(subject: Subject, scene: Scene, motion: Motion, size: tuple[int, int]) -> int:
    """Of the frames with the most visible points, the one with the longest subject: end-on, they lie in a heap."""
    seen = subject_tracks(subject, scene, motion, size).visible.sum(1)
    return int(np.where(seen == seen.max(), motion.squash, 0).argmax())


def _occluded(rng: np.random.Generator, staged: Stage) -> Stage:
    scene, motion = staged
    return scene.occluded(Occluder.across(rng, motion)), motion


def _panned(rng: np.random.Generator, staged: Stage) -> Stage:
    """The camera crosses more than a whole picture of ground, and draws nearer or away."""
    scene, motion = staged
    time = motion.time - np.float32(0.5)
    pan, zoom = rng.choice((-1, 1)) * rng.uniform(1.6, 2.6), rng.choice((-1, 1)) * rng.uniform(0.15, 0.35)
    pan_x, view = (pan * time).astype(np.float32), (1 + zoom * time).astype(np.float32)
    return scene, replace(motion, pan_x=pan_x, view=view)


def turning(rng: np.random.Generator, staged: Stage) -> Stage:
    """The subject turns about its upright axis by 0.85 to 1.9 half turns, so that it passes end-on once or twice and
    looks the other way after each; its parts go through 2 to 3 turns, and swing 1.5 to 2.2 times as far.

    Its length is that of an ellipse so turned. It stands upright when it is end-on: else it would lean to one side in
    the last frame before, and to the other in the first one after.
    """
    scene, motion = staged
    time = motion.time.astype(np.float64)
    yaw = rng.uniform(-0.4, 0.4) + np.pi * rng.choice((-1, 1)) * rng.uniform(0.85, 1.9) * time
    broadside = np.cos(yaw)
    courses = {
        "squash": np.hypot(broadside, _THICKNESS * np.sin(yaw)),
        "facing": np.where(broadside < 0, -motion.facing, motion.facing),
        "rotation": motion.rotation * np.abs(broadside),
        "shear": motion.shear * np.abs(broadside),
        "phase": motion.phase[0] + rng.uniform(2, 3) * time,
        "swing": np.full(len(motion), rng.uniform(1.5, 2.2)),
    }
    return scene, replace(motion, **{name: course.astype(np.float32) for name, course in courses.items()})


SUITES = {
    "toybox/same-shape": Suite("the same shape in another colour and pattern"),
    "toybox/shape-change": Suite("another class, or other proportions; the points are dragged there", change=True),
    "toybox/occlusion": Suite("same shape; something passes in front", stage=_occluded),
    "toybox/camera": Suite("same shape; the camera pans and zooms", stage=_panned),
    "toybox/long": Suite("same shape, 64 frames", frames=64),
    "toybox/turning": Suite("same shape; the subject turns round, and its parts move more", stage=turning, turns=True),
}
