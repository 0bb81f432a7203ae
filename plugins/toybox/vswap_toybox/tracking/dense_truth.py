"""Exact tracks of many points of a Toybox scene: on every part of the subject, on what passes in front, on the ground.

A point on a part is carried by the part's own affine map. It is hidden outside the frame and where a part that is
painted later covers it. The six named points keep the Toybox's own truth, which parts of the subject itself never hide.
"""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray
from vswap_toybox.affine import apply, inverse
from vswap_toybox.motion import Motion
from vswap_toybox.painting import Layer, covers, distance
from vswap_toybox.rendering import occluder_layers, subject_layers, subject_tracks
from vswap_toybox.scene import Scene
from vswap_toybox.subject import Subject

NAMED = 6
_TRIES = 8  # places drawn for each point that a part is to have


def dense_tracks(
    rng: np.random.Generator,
    subject: Subject,
    scene: Scene,
    motion: Motion,
    size: tuple[int, int],
    *,
    on_subject: int = 44,
    on_occluders: int = 8,
    on_ground: int = 38,
) -> tuple[FloatArray, BoolArray]:
    """xy float32 [T, N, 2] and visible bool [T, N]; the six named points come first."""
    parts = subject_layers(subject, motion.phase, motion.subject_to_pixels(size), motion.swing)
    front = [layer for occluder in scene.occluders for layer in occluder_layers(occluder, motion, size)]
    layers = parts + front
    named = subject_tracks(subject, scene, motion, size)
    found = [(named.xy, named.visible), _on_ground(rng, layers, motion, size, on_ground)]
    found.append(_on_layers(rng, layers, 0, len(parts), size, on_subject))
    if front:
        found.append(_on_layers(rng, layers, len(parts), len(layers), size, on_occluders))
    return np.concatenate([xy for xy, _ in found], 1), np.concatenate([visible for _, visible in found], 1)


def _on_ground(
    rng: np.random.Generator, layers: list[Layer], motion: Motion, size: tuple[int, int], count: int
) -> tuple[FloatArray, BoolArray]:
    """Places drawn in frames drawn, which the camera then moves."""
    maps = motion.background_to_pixels(size)
    frame = rng.integers(0, len(motion), count)
    pixels = rng.uniform(-0.5, np.array(size) - 0.5, (count, 2))
    places = apply(inverse(maps)[frame], pixels[:, None])[:, 0]
    xy = apply(maps, places).astype(np.float32)
    return xy, _unhidden(xy, layers, size)


def _on_layers(
    rng: np.random.Generator, layers: list[Layer], first: int, end: int, size: tuple[int, int], count: int
) -> tuple[FloatArray, BoolArray]:
    """Places within parts first..end - 1, more on large parts than on small ones."""
    sides = np.array([max(layer.part.half_width * layer.part.half_height, 1e-6) ** 0.5 for layer in layers[first:end]])
    chosen = rng.choice(np.arange(first, end), count, p=sides / sides.sum())
    xys, seen = [], []
    for number in np.unique(chosen):
        layer, wanted = layers[number], int((chosen == number).sum())
        half = np.array([layer.part.half_width, layer.part.half_height])
        drawn = rng.uniform(-half, half, (wanted * _TRIES, 2)).astype(np.float32)
        within = distance(layer.part, drawn[:, 0], drawn[:, 1]) < -0.02
        # a thin part may have no place so far from its border: its centre is one
        local = np.concatenate([drawn[within], np.zeros((wanted, 2), np.float32)])[:wanted]
        xy = apply(layer.from_part, local).astype(np.float32)
        xys.append(xy)
        seen.append(_unhidden(xy, layers[number + 1 :], size))
    return np.concatenate(xys, 1), np.concatenate(seen, 1)


def _unhidden(xy: FloatArray, above: list[Layer], size: tuple[int, int]) -> BoolArray:
    limit = np.array(size, np.float32) - np.float32(0.5)
    visible: BoolArray = np.logical_and.reduce((xy >= -0.5) & (xy <= limit), axis=-1)
    for layer in above:
        np.logical_and(visible, ~covers(layer, xy), out=visible)
    return visible
