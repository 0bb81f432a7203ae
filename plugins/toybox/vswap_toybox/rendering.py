"""Renders a subject in a scene: pictures, masks, and where its points are, all of the same truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointTracks
from vswap_toybox.affine import Affine, apply, chain, translation
from vswap_toybox.anatomy import POINT_NAMES, Part, Role
from vswap_toybox.background import paint_background
from vswap_toybox.motion import Motion
from vswap_toybox.painting import Canvas, Coat, Layer, covers, paint
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import Subject, part_to_subject

_PIXELS = 1 << 17  # of one plane worked on at a time: about what fits a core's cache
_BUSH = (
    Part("ellipse", -0.4, -0.2, 0.6, 0.7),
    Part("ellipse", 0.45, -0.3, 0.55, 0.6),
    Part("ellipse", 0, 0.2, 0.7, 0.8),
)


@dataclass(frozen=True, eq=False)
class Rendering:
    """frames uint8 [T, H, W, 3] RGB; masks uint8 [T, H, W], 255 where the subject is seen, soft at its edge."""

    frames: ByteArray
    masks: ByteArray


def render_chunks(
    subject: Subject | None, scene: Scene, motion: Motion, size: tuple[int, int], *, chunk: int | None = None
) -> Iterator[Rendering]:
    """Render `motion` a few frames at a time; the bytes don't depend on how many.

    Args:
        subject: None for the background, and what passes in front, alone.
        scene: the same scene and motion with another subject is the exact answer of a swap.
        motion: one entry a frame.
        size: (width, height) in pixels.
        chunk: frames in each rendering; chosen by the picture's size when None.
    """
    step = chunk or max(1, min(32, _PIXELS // (size[0] * size[1])))
    for start in range(0, len(motion), step):
        yield _render(subject, scene, motion[start : start + step], size)


def render(subject: Subject | None, scene: Scene, motion: Motion, size: tuple[int, int]) -> Rendering:
    """All frames of `motion` at once, see `render_chunks`."""
    parts = list(render_chunks(subject, scene, motion, size))
    return Rendering(np.concatenate([part.frames for part in parts]), np.concatenate([part.masks for part in parts]))


def subject_tracks(subject: Subject, scene: Scene, motion: Motion, size: tuple[int, int]) -> PointTracks:
    """Where the six points are in a picture of `size` (width, height); hidden outside it and behind occluders."""
    xy = apply(motion.subject_to_pixels(size), subject.points(motion.phase, motion.swing)).astype(np.float32)
    visible = visible_points(xy, scene, motion, size)
    return PointTracks(POINT_NAMES, xy, visible, visible.astype(np.float32), size)


def visible_points(xy: FloatArray, scene: Scene, motion: Motion, size: tuple[int, int]) -> BoolArray:
    """bool [T, N]: whether pixels float32 [T, N, 2] are inside the frame with no occluder before them."""
    limit = np.array(size, np.float32) - np.float32(0.5)
    visible: BoolArray = np.logical_and.reduce((xy >= -0.5) & (xy <= limit), axis=-1)
    for occluder in scene.occluders:
        for layer in occluder_layers(occluder, motion, size):
            np.logical_and(visible, ~covers(layer, xy), out=visible)
    return visible


def subject_layers(subject: Subject, phase: FloatArray, owner: Affine, swing: FloatArray | None = None) -> list[Layer]:
    """The subject's parts at `phase` and `swing` [T], in the order in which they are painted; `owner` takes it to
    pixels."""
    palette, layers = subject.palette, []
    for part in subject.parts:
        pattern = subject.pattern if part.role is Role.PRIMARY else "plain"
        colours = palette[part.role], palette[Role.SECONDARY]
        coat = Coat(*colours, pattern, subject.frequency, shaded=part.role <= Role.SECONDARY)
        layers.append(Layer(part, coat, chain(owner, part_to_subject(part, phase, swing)), owner))
    return layers


def occluder_layers(occluder: Occluder, motion: Motion, size: tuple[int, int]) -> list[Layer]:
    """The occluder's parts in every frame, in the order in which they are painted."""
    wide, high = occluder.width, occluder.height
    shapes: tuple[Part, ...]
    if occluder.kind == "post":
        shapes, pattern = (Part("box", 0, 0, wide, high),), "striped"
    else:
        shapes = tuple(
            Part("ellipse", p.x * wide, p.y * high, p.half_width * wide, p.half_height * high) for p in _BUSH
        )
        pattern = "spotted"
    colour = np.array(occluder.colour, np.float32)
    coat = Coat(colour, colour * np.float32(0.7), pattern, 9 if pattern == "striped" else 14, shaded=False)
    place = translation(occluder.x + occluder.travel * (motion.time.astype(np.float64) - 0.5), occluder.y)
    owner = chain(motion.background_to_pixels(size), place)
    return [Layer(shape, coat, chain(owner, translation(shape.x, shape.y)), owner) for shape in shapes]


def _render(subject: Subject | None, scene: Scene, motion: Motion, size: tuple[int, int]) -> Rendering:
    width, height = size
    planes = np.empty((len(motion), 3, height, width), np.float32)
    canvas = Canvas(planes, np.zeros((len(motion), height, width), np.float32))
    paint_background(planes, scene, motion)
    if subject is not None:
        for layer in subject_layers(subject, motion.phase, motion.subject_to_pixels(size), motion.swing):
            paint(canvas, layer)
    for occluder in scene.occluders:
        for layer in occluder_layers(occluder, motion, size):
            paint(canvas, layer, hides=True)
    frames = np.empty((len(motion), height, width, 3), np.uint8)
    frames[:] = to_bytes(planes).transpose(0, 2, 3, 1)
    return Rendering(frames, cover_to_bytes(canvas.cover))


def to_bytes(planes: FloatArray) -> ByteArray:
    """0..1 to the nearest of 0..255."""
    scaled = np.clip(planes, 0, 1) * np.float32(255)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8)


def cover_to_bytes(cover: FloatArray) -> ByteArray:
    """0..1 to 0..255, rounded up: every pixel that the subject has touched counts."""
    scaled = np.clip(cover, 0, 1) * np.float32(255)
    np.ceil(scaled, out=scaled)
    return scaled.astype(np.uint8)
