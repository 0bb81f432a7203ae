"""A textured rectangle that turns and grows, tracked at five points, on a textured ground that moves otherwise."""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import Masks, PointTracks, Video

FRAMES, KEYFRAME = 20, 9
PLACES = np.array([[-14, -8], [14, -8], [14, 8], [-14, 8], [0, 0]], np.float64)
NAMES = ("a", "b", "c", "d", "e")
MIDDLE = np.array([48, 36])


def texture(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    across, down, phase = np.random.default_rng(seed).uniform(-0.7, 0.7, (3, 12))
    return np.tanh(np.sin(across * x[..., None] + down * y[..., None] + 9 * phase).sum(-1))


def turn(t: int) -> np.ndarray:
    angle = 0.05 * (t - KEYFRAME)
    return 1.015 ** (t - KEYFRAME) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def scene(ground: float) -> tuple[Video, Masks, PointTracks]:
    """A textured rectangle that turns and grows on a ground that moves `ground` px a frame the other way."""
    x, y = np.meshgrid(np.arange(96.0), np.arange(72.0))
    frames, masks, xy = [], [], []
    for t in range(FRAMES):
        centre = MIDDLE + 0.8 * (t - KEYFRAME) * np.array([1, 0.3])
        u, v = np.linalg.inv(turn(t)) @ np.stack([x - centre[0], y - centre[1]]).reshape(2, -1)
        u, v = u.reshape(x.shape), v.reshape(x.shape)
        inside = (np.abs(u) < 20) & (np.abs(v) < 13)
        grey = np.where(inside, texture(u, v, 1), texture(x + ground * t, y, 2))
        frames.append(np.repeat((127 + 100 * grey).astype(np.uint8)[..., None], 3, -1))
        masks.append(np.where(inside, 255, 0).astype(np.uint8))
        xy.append(PLACES @ turn(t).T + centre)
    seen = np.ones((FRAMES, len(NAMES)), bool)
    tracks = PointTracks(NAMES, np.array(xy, np.float32), seen, seen.astype(np.float32), (96, 72))
    return Video(np.stack(frames), 8.0), Masks(np.stack(masks)), tracks
