"""Paints the background of a scene as the camera sees it."""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import FloatArray
from vswap_toybox.affine import inverse
from vswap_toybox.motion import Motion
from vswap_toybox.scene import SKIES, Scene

_SMALL_PRODUCT = 1 << 17  # multiplications; OpenBLAS takes more threads from 2^18 on
_SUNLIGHT = (1.0, 0.95, 0.75)


def paint_background(planes: FloatArray, scene: Scene, motion: Motion) -> None:
    """Fill planes float32 [T, 3, H, W] with ground and sky, 0..1, in the T frames of `motion`."""
    height, width = planes.shape[2:]
    to_background = inverse(motion.background_to_pixels((width, height)))
    x = (to_background[:, 0, :1] * np.arange(width) + to_background[:, 0, 2:]).astype(np.float32)
    y = (to_background[:, 1, 1:2] * np.arange(height) + to_background[:, 1, 2:]).astype(np.float32)
    pixel = to_background[:, 0, 0].astype(np.float32)[:, None, None]
    level, swell, frequency, phase = (np.float32(value) for value in scene.horizon)
    horizon = level + swell * np.sin(frequency * x + phase)
    below = horizon[:, None, :] - y[:, :, None]
    is_ground = np.clip(below / pixel + np.float32(0.5), 0, 1)
    shade = _ground_shade(scene, x, y, below)
    shade *= is_ground
    is_sky = np.subtract(1, is_ground, out=is_ground)
    haze = np.clip(waves(scene.clouds, x, y) * np.float32(0.5), 0, 1)
    haze *= np.float32(0.5 if scene.sky == "day" else 0.2)
    sun = _sun(scene, x, y, pixel)
    top, bottom = (np.array(colour, np.float32) for colour in SKIES[scene.sky])
    rise = np.clip((y + 1) / 2, 0, 1)
    for channel in range(3):
        plane = planes[:, channel]
        gradient = bottom[channel] + (top[channel] - bottom[channel]) * rise
        np.multiply(1 - haze, (gradient - np.float32(0.96))[:, :, None], out=plane)
        plane += np.float32(0.96)
        plane += sun * (np.float32(_SUNLIGHT[channel]) - plane)
        plane *= is_sky
        plane += scene.ground_colour[channel] * shade


def waves(bank: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """The sum of plane waves float32 [K, 4] at columns x float32 [T, W] and rows y float32 [T, H]: [T, H, W]."""
    across, up, phase, amplitude = bank.T
    turn_x, turn_y = x[..., None] * across + phase, y[..., None] * up
    by_column = np.concatenate([np.sin(turn_x) * amplitude, np.cos(turn_x) * amplitude], -1)
    by_row = np.concatenate([np.cos(turn_y), np.sin(turn_y)], -1)
    # Products this small stay on the calling thread: BLAS threads gain nothing here and, on a machine that has other
    # work, wait for each other (6 times slower), and the bytes could depend on their number.
    count, height, terms = by_row.shape
    rows = max(1, min(16, _SMALL_PRODUCT // (x.shape[1] * terms)))
    padded = np.pad(by_row, ((0, 0), (0, -height % rows), (0, 0))).reshape(count, -1, rows, terms)
    total: FloatArray = np.matmul(padded, by_column.transpose(0, 2, 1)[:, None])
    return total.reshape(count, -1, x.shape[1])[:, :height]


def _ground_shade(scene: Scene, x: FloatArray, y: FloatArray, below: FloatArray) -> FloatArray:
    """How light the ground is, [T, H, W]: darker towards the viewer, and textured."""
    shade: FloatArray = np.clip(waves(scene.texture, x, y) * np.float32(scene.sharpness), -1, 1)
    shade *= np.float32(2 * scene.contrast)
    shade += 1
    shade *= np.float32(0.6 if scene.sky == "night" else 1) * (1 - np.float32(0.25) * np.clip(below, 0, 1))
    return shade


def _sun(scene: Scene, x: FloatArray, y: FloatArray, pixel: FloatArray) -> FloatArray:
    """How much of each pixel the sun (or the moon) lights, [T, H, W]."""
    centre_x, centre_y, radius = (np.float32(value) for value in scene.sun)
    squares = ((x - centre_x) ** 2)[:, None, :] + ((y - centre_y) ** 2)[:, :, None]
    # (d^2 - r^2) / 2r is the distance from the rim to first order, without a root a pixel.
    rim = (squares - radius * radius) / (2 * radius * pixel)
    light: FloatArray = np.clip(np.float32(0.5) - rim, 0, 1) * np.float32(0.8)
    return light
