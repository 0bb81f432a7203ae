"""The conformance kit's cases: each puts one thing to the test, on ground with enough texture for corner trackers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vswap_kernel.testing.case import Case
from vswap_kernel.types import DisplacementField, FloatArray, PointEdit
from vswap_toybox.clip import Clip, drag, make_clip
from vswap_toybox.motion import Motion
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import Subject

SIZE = (128, 96)
FRAMES = 24

_CAR = Subject("car", "red", "white", "striped")
_CAT = Subject("cat", "orange", "brown", "striped")
_FISH = Subject("fish", "purple", "yellow", "spotted")
_PLANE = Subject("plane", "yellow", "blue", "striped")
_BIRD = Subject("bird", "blue", "white", "spotted")
_BOAT = Subject("boat", "green", "white", "striped")


def translation() -> Case:
    """A car drives from left to right past a camera that stands still."""
    motion = Motion.of(FRAMES, x=_course(-0.6, 0.6), y=-0.1, scale=0.55, phase=_course(0, 0.5))
    return _case("translation", make_clip(_CAR, _FISH, _scene(1), motion, SIZE))


def rotation() -> Case:
    """A fish turns by 57 degrees on the spot."""
    motion = Motion.of(FRAMES, rotation=_course(-0.5, 0.5), scale=0.65, phase=_course(0, 0.3))
    return _case("rotation", make_clip(_FISH, _BIRD, _scene(2), motion, SIZE))


def scale() -> Case:
    """A plane comes nearer, to 1.6 times its size."""
    motion = Motion.of(FRAMES, scale=_course(0.45, 0.72), y=0.1, phase=_course(0, 0.4))
    return _case("scale", make_clip(_PLANE, replace(_PLANE, colour="pink", pattern="spotted"), _scene(3), motion, SIZE))


def occlusion() -> Case:
    """A post sweeps past in front of a cat, from before its nose to behind its tail."""
    motion = Motion.of(FRAMES, x=_course(-0.15, 0.15), y=-0.05, scale=0.6, phase=_course(0, 0.5))
    scene = _scene(4).occluded(Occluder("post", 0.0, width=0.11, travel=-2.4))
    return _case("occlusion", make_clip(_CAT, replace(_CAT, colour="black", second="white"), scene, motion, SIZE))


def out_of_frame() -> Case:
    """A boat leaves the picture to the right and comes back, within 40 frames and at no more than 7 pixels a frame."""
    away = np.sin(_course(0, np.pi, 40)) ** 2
    motion = Motion.of(40, x=0.2 + 1.8 * away, y=-0.1, scale=0.5, phase=_course(0, 0.5, 40))
    return _case("out-of-frame", make_clip(_BOAT, _CAR, _scene(5), motion, SIZE))


def mid_video_query() -> Case:
    """A bird crosses the picture to the left; its points are set halfway."""
    height, turn = 0.1 * np.sin(_course(0, 6.3)), _course(-0.2, 0.2)
    course = _course(0.5, -0.5)
    motion = Motion.of(FRAMES, x=course, y=height, rotation=turn, scale=0.55, facing=-1.0, phase=_course(0, 0.4))
    clip = make_clip(_BIRD, replace(_BIRD, colour="red"), _scene(6), motion, SIZE, keyframe=FRAMES // 2)
    return _case("mid-video-query", clip)


def camera_pan() -> Case:
    """The camera follows a car for 48 frames over more than a whole picture of ground, and draws nearer."""
    drive = {"x": 0.2 * np.sin(_course(0, 6.3, 48)), "rotation": 0.12 * np.sin(_course(0, 12.6, 48))}
    camera = {"pan_x": _course(-1.4, 1.4, 48), "view": _course(1.1, 0.9, 48)}
    motion = Motion.of(48, y=-0.1, scale=0.55, phase=_course(0, 1.5, 48), **drive, **camera)
    return _case("camera-pan", make_clip(_CAR, replace(_CAR, colour="yellow", second="black"), _scene(7), motion, SIZE))


def shape_change() -> Case:
    """A fish for one longer and lower; the drag takes every point to where the other fish has it."""
    motion = Motion.of(FRAMES, x=_course(-0.3, 0.3), rotation=_course(-0.2, 0.25), scale=0.6, phase=_course(0, 0.5))
    target = replace(_FISH, colour="green", length=1.2, height=0.8)
    clip = make_clip(_FISH, target, _scene(8), motion, SIZE)
    names = clip.tracks.names
    places = clip.answer_tracks.xy[clip.keyframe].astype(float).tolist()
    edit = PointEdit(clip.keyframe, {name: (x, y) for name, (x, y) in zip(names, places, strict=True)})
    delta = clip.answer_tracks.xy - clip.tracks.xy
    return _case("shape-change", clip, edit, DisplacementField(names, delta, np.ones(delta.shape[:2], np.bool_)))


CASES: dict[str, Callable[[], Case]] = {
    "translation": translation,
    "rotation": rotation,
    "scale": scale,
    "occlusion": occlusion,
    "out-of-frame": out_of_frame,
    "mid-video-query": mid_video_query,
    "camera-pan": camera_pan,
    "shape-change": shape_change,
}


def _course(start: float, stop: float, frames: int = FRAMES) -> FloatArray:
    return np.linspace(start, stop, frames, dtype=np.float32)


def _scene(seed: int) -> Scene:
    return replace(Scene.sample(np.random.default_rng(seed), detail=1.2), sky="day")


def _case(name: str, clip: Clip, edit: PointEdit | None = None, displacement: DisplacementField | None = None) -> Case:
    """The clip as a case; without an edit of its own, the nose and the top are dragged outwards."""
    if edit is None or displacement is None:
        start = dict(zip(clip.tracks.names, clip.tracks.xy[clip.keyframe].astype(float).tolist(), strict=True))
        facing = float(clip.motion.facing[clip.keyframe])
        (front_x, front_y), (top_x, top_y) = start["front"], start["top"]
        moves = {"front": (front_x + 6 * facing, front_y), "top": (top_x, top_y - 5)}
        edit, displacement = PointEdit(clip.keyframe, moves), drag(clip, moves)
    return Case(
        name=name,
        video=clip.video,
        masks=clip.masks,
        queries=clip.queries,
        tracks=clip.tracks,
        cutout=clip.cutout,
        answer=clip.answer,
        edit=edit,
        displacement=displacement,
    )
