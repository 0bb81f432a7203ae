"""The kit's own case, so that it works when no plugin gives one."""

from __future__ import annotations

from typing import Any

import numpy as np

from vswap_kernel.testing.case import Case
from vswap_kernel.types import Cutout, DisplacementField, Masks, PointEdit, PointQueries, PointTracks, SwapResult, Video


def _texture(x: Any, y: Any, seed: int, contrast: float) -> Any:
    """Colours [..., 3] at (x, y): waves of random direction, length and colour, so that no two places look alike."""
    rng = np.random.default_rng(seed)
    (across, down, phase), colours = rng.uniform(-0.6, 0.6, (3, 16)), rng.uniform(-1, 1, (16, 3))
    waves = np.sin(across * x[..., None] + down * y[..., None] + 9 * phase)
    return (128 + contrast * np.tanh(waves @ colours)).astype(np.uint8)


def patch() -> Case:
    """A textured square, 32 px wide, moves by (3, 1) px a frame over a still ground: 8 frames of 96x64, 4 points in it.

    The other subject is a disc of another texture. The edit drags one point, and it stays dragged by as much.
    """
    corner = np.array([14, 12]) + np.array([3, 1]) * np.arange(8)[:, None]
    across, down = np.arange(96), np.arange(64)[:, None]
    x, y = across - corner[:, 0, None, None], down - corner[:, 1, None, None]

    def scene(inside: Any, seed: int) -> tuple[Video, Masks]:
        frames = np.where(inside[..., None], _texture(x, y, seed, 110), _texture(across, down, 0, 30))
        return Video(frames, 8.0), Masks(np.where(inside, 255, 0).astype(np.uint8))

    video, masks = scene((x >= 0) & (x < 32) & (y >= 0) & (y < 32), 1)
    answer = SwapResult(*scene(np.hypot(x - 15.5, y - 15.5) < 16, 2))
    names, places = ("a", "b", "c", "d"), np.array([[8, 8], [23, 8], [8, 23], [23, 23]], np.float32)
    xy, seen = (corner[:, None] + places).astype(np.float32), np.ones((8, 4), bool)
    tracks = PointTracks(names, xy, seen, seen.astype(np.float32), video.size)
    rgba = np.dstack([answer.video.frames[0], answer.subject.frames[0]])[12:44, 14:46]
    delta = np.zeros((8, 4, 2), np.float32)
    delta[:, 0] = (-4, -3)
    edit, field = PointEdit(0, {"a": (18.0, 17.0)}), DisplacementField(names, delta, seen)
    queries, cutout = PointQueries(names, np.zeros(4, np.int32), xy[0]), Cutout(rgba, names, places)
    return Case("patch", video, masks, queries, tracks, cutout, answer, edit, field)
