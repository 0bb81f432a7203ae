"""How light the scene is, and the cut-out brought nearer to it. Hue stays: only lightness changes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vswap_kernel.types import ByteArray, FloatArray, Masks, Video
from vswap_swappers.linear_fit import Array
from vswap_swappers.smoothing import bridge, smooth

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SLOW = 6.0  # frames: faster changes of the subject's own lightness are its motion, not the light
_SCENE_FRAMES = 16
_MOST_SHIFT = 20.0  # of L*, whatever the scene
_MOST_GAIN = 1.6


@dataclass(frozen=True, eq=False)
class SceneLight:
    """The source subject's size and place, and its light, in a clip of T frames.

    Attributes:
        area: float64 [T], pixels of the subject's mask; 0 where it is empty.
        centre: float64 [T, 2], the mask's centroid (x, y) in pixels; NaN where it is empty.
        exposure: float64 [T], how light the subject is in each frame relative to the clip: about 1, slowly varying.
        lightness, contrast: mean and standard deviation of L* (0..100) around the subject, over the clip.
    """

    area: Array
    centre: Array
    exposure: Array
    lightness: float
    contrast: float


def _subject(frames: ByteArray, masks: ByteArray) -> tuple[Array, Array, Array]:
    """Area [n], centroid [n, 2] and mean luma [n] of the subject in frames [n, H, W, 3], NaN where the mask [n, H, W]
    is empty; from every second pixel of every second row."""
    inside = masks[:, ::2, ::2] > 127
    luma = frames[:, ::2, ::2].astype(np.float32) @ _LUMA
    count = inside.sum((1, 2)).astype(np.float64)
    total = np.where(inside, luma, 0).sum((1, 2), dtype=np.float64)
    some = np.where(count > 0, count, np.nan)
    x = 2 * (inside.sum(1) @ np.arange(inside.shape[2])) / some
    y = 2 * (inside.sum(2) @ np.arange(inside.shape[1])) / some
    return 4 * count, np.stack([x, y], -1), total / some


def _surroundings(frame: ByteArray, mask: ByteArray) -> FloatArray:
    """L* float32 [K] of the K pixels around the subject, as far out as half its size; of all without a subject.

    frame uint8 [H, W, 3]; mask uint8 [H, W].
    """
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inside = (mask > 127).astype(np.uint8)
    reach = max(3, int(0.5 * np.sqrt(inside.sum())))
    near = cv2.boxFilter(inside.astype(np.float32), -1, (2 * reach + 1, 2 * reach + 1)) > 0
    chosen = near if near.any() else np.ones_like(near)
    return np.asarray(lab[..., 0][chosen], np.float32)


def measure_light(video: Video, masks: Masks) -> SceneLight:
    """Read a clip once, in chunks."""
    areas, centres, lumas, around = [], [], [], []
    every = max(1, len(video) // _SCENE_FRAMES)
    for (start, frames), (_, inside) in zip(video.chunks(), masks.chunks(), strict=True):
        area, centre, luma = _subject(frames, inside)
        areas.append(area)
        centres.append(centre)
        lumas.append(luma)
        for index in range(-start % every, len(frames), every):
            values = _surroundings(frames[index], inside[index])
            around.append((len(values), values.mean(), (values.astype(np.float64) ** 2).mean()))
    luma = np.concatenate(lumas)
    known = np.isfinite(luma)
    steady = smooth(bridge(np.where(known, luma, 1.0), known), np.maximum(known, 0.01), _SLOW, degree=0)
    count, mean, square = np.array(around, np.float64).T
    lightness = float((count * mean).sum() / count.sum())
    variance = float((count * square).sum() / count.sum()) - lightness**2
    exposure = steady / max(float(np.median(steady)), 1.0)
    contrast = float(np.sqrt(max(variance, 1e-6)))
    return SceneLight(np.concatenate(areas), np.concatenate(centres), exposure, lightness, contrast)


def match_lightness(rgba: ByteArray, light: SceneLight, strength: float) -> ByteArray:
    """The cut-out with the mean and spread of its L* moved towards the scene's.

    Args:
        rgba: uint8 [H, W, 4], straight alpha.
        strength: 0 leaves it alone, 1 moves all the way, but by 20 of L* at most.
    """
    weight = rgba[..., 3].astype(np.float32)
    if strength <= 0 or not weight.any():
        return rgba
    lab = cv2.cvtColor(rgba[..., :3].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mean = float(np.average(lab[..., 0], weights=weight))
    spread = float(np.sqrt(np.average((lab[..., 0] - mean) ** 2, weights=weight)))
    shift = strength * float(np.clip(light.lightness - mean, -_MOST_SHIFT, _MOST_SHIFT))
    ratio = float(np.clip(light.contrast / max(spread, 1.0), 0.6, 1.4)) ** (0.5 * strength)
    lab[..., 0] = np.clip((lab[..., 0] - mean) * ratio + mean + shift, 0, 100)
    colour = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.concatenate([colour, rgba[..., 3:]], axis=2)


def exposure_gain(light: SceneLight, strength: float) -> Array:
    """Factor [T] for the cut-out's colours, so that it darkens and lightens as the old subject did."""
    gain: Array = np.clip(light.exposure**strength, 1 / _MOST_GAIN, _MOST_GAIN)
    return gain
