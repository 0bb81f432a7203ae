"""What a result is worth, beside the exact answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.api import Context
from vswap_kernel.protocols import MetricCase
from vswap_kernel.registry import Registry
from vswap_kernel.types import (
    BoolArray,
    ByteArray,
    FloatArray,
    Masks,
    Measurement,
    PointQueries,
    PointTracks,
    SwapResult,
    Video,
)
from vswap_toybox.clip import Clip
from vswap_toybox.evaluation.pointing import PointFinder

FIGURES = (
    "subject_psnr",
    "subject_ssim",
    "mask_iou",
    "point_error_px",
    "background_psnr",
    "temporal",
    "identity",
    "seconds",
)
"""Their names and order in what is written; `seconds` is the one that isn't of the pictures."""

_SEEN = 28  # levels of 0..255 from the background, averaged over 3x3 pixels, at which something stands before it
_BINS = 8  # a channel
_HEADINGS = 8


class Judge:
    """Judges results of one clip.

    Values of `figures`:
        subject_psnr, subject_ssim: dB, and mean over windows of 11x11, where the old or the new subject truly is: what
            is left of the old one costs as much as what lacks of the new one. The region is the same for all methods.
        mask_iou: of where something is seen to stand before the (known) background, in the result and in the answer,
            over all frames. Seen, and not what a method says: a swapper's own mask is no evidence.
        point_error_px: mean over points and frames, see `PointFinder`.
        background_psnr: dB outside both subjects' true masks, at most 100.
        temporal: warp error between neighbouring frames over that of the answer: 1 is as steady as the truth.
        identity: 0..1, see `identity`.

    NaN for what is undefined. The first two, background and temporal are the registered metrics `exact-answer`,
    `background` and `temporal`, given the true masks.
    """

    def __init__(self, clip: Clip, folder: Path, registry: Registry) -> None:
        """`folder` is what `write_clip` wrote of `clip`."""
        self._clip, self._registry, self._context = clip, registry, Context(folder)
        self._answer_video = {"video": str(folder / "answer")}
        self._background = clip.background().frames
        self._seen = seen(clip.answer.video.frames, self._background)
        self._points = PointFinder(clip.answer.video.frames, clip.answer.subject.frames, clip.answer_tracks)

    def figures(self, video: Video) -> dict[str, float]:
        """All but `seconds` of the result `video`."""
        clip, truth = self._clip, self._clip.answer
        either = Masks(np.maximum(clip.masks.frames, truth.subject.frames))
        exact = self._measured("exact-answer", self._answer_video, clip.video, SwapResult(video, either), None)
        outside = self._measured("background", {}, clip.video, SwapResult(video, truth.subject), clip.masks)
        steady = self._measured("temporal", {}, truth.video, SwapResult(video, truth.subject), None)
        mine = seen(video.frames, self._background)
        errors = self._points.errors(video.frames)
        return {
            "subject_psnr": exact["subject_psnr"],
            "subject_ssim": exact["subject_ssim"],
            "mask_iou": overlap(mine, self._seen),
            "point_error_px": float(np.nanmean(errors)) if np.isfinite(errors).any() else float("nan"),
            "background_psnr": outside["background_psnr"],
            "temporal": steady["temporal_ratio"],
            "identity": identity(video.frames, mine, truth.video.frames, self._seen),
        }

    def _measured(
        self, name: str, options: Mapping[str, Any], source: Video, result: SwapResult, masks: Masks | None
    ) -> Mapping[str, float]:
        metric = self._registry.create("metrics", name, options, self._context)
        case = MetricCase(source, result, masks, self._clip.answer_tracks, _NoTracker())
        measured: Measurement = metric.measure(case)
        return measured.values


class _NoTracker:
    """None of the metrics asked tracks anything."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        raise NotImplementedError


def seen(frames: ByteArray, background: ByteArray) -> BoolArray:
    """Where something stands before `background`, both uint8 [T, H, W, 3]: bool [T, H, W].

    Differences are averaged over 3x3 pixels, for a decoder's noise isn't a subject. What has the background's very
    colour isn't seen, in the answer as little as in a result.
    """
    difference: FloatArray = frames.astype(np.float32) - background
    for axis in (1, 2):
        padded = np.pad(difference, [(1, 1) if i == axis else (0, 0) for i in range(4)], mode="edge")
        size = difference.shape[axis]
        difference = np.mean([np.take(padded, range(k, k + size), axis) for k in range(3)], 0)
    far: BoolArray = np.abs(difference).max(3) > _SEEN
    return far


def overlap(first: BoolArray, second: BoolArray) -> float:
    """Intersection over union of bool arrays of one shape; 1 for two empty ones."""
    either = int((first | second).sum())
    return float((first & second).sum()) / either if either else 1.0


def identity(frames: ByteArray, mask: BoolArray, answer: ByteArray, answer_mask: BoolArray) -> float:
    """How far the subject in `frames` has the colours and the pattern of the one in `answer`, wherever it is: 0..1.

    The mean of two histogram intersections (Swain and Ballard 1991), over all frames: of the colours, soft bins of RGB;
    and of the pattern, the directions of edges within the subject, by their strength, with one bin for plain surface.
    0 where no subject is seen.

    Args:
        frames, answer: uint8 [T, H, W, 3] RGB.
        mask, answer_mask: bool [T, H, W], where the subject is seen in each.
    """
    if not mask.any() or not answer_mask.any():
        return float(mask.any() == answer_mask.any())
    alike = [
        np.minimum(histogram(frames, mask), histogram(answer, answer_mask)).sum()
        for histogram in (colour_histogram, pattern_histogram)
    ]
    return float(np.mean(alike))


def colour_histogram(frames: ByteArray, mask: BoolArray) -> FloatArray:
    """float32 [8 * 8 * 8], sums to 1: shares of RGB among the masked pixels, each spread over the nearest 8 bins."""
    place = frames[mask].astype(np.float32) * np.float32((_BINS - 1) / 255)
    low = np.minimum(place.astype(int), _BINS - 2)
    beyond = place - low
    total = np.zeros(_BINS**3)
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, beyond, 1 - beyond).prod(1)
        total += np.bincount((low + corner) @ (_BINS**2, _BINS, 1), weight, _BINS**3)
    shares: FloatArray = (total / total.sum()).astype(np.float32)
    return shares


def pattern_histogram(frames: ByteArray, mask: BoolArray) -> FloatArray:
    """float32 [9], sums to 1: how much of the subject's surface has edges in each of 8 directions, and how much none.

    An edge counts by its strength, fully from 40 levels a pixel on; its direction is that of the strongest channel.
    """
    colour = frames.astype(np.float32)
    down, across = np.gradient(colour, axis=(1, 2))
    strength = np.hypot(down, across)
    strongest = strength.argmax(3)[..., None]
    down, across, strength = (np.take_along_axis(a, strongest, 3)[..., 0][mask] for a in (down, across, strength))
    weight = np.minimum(strength / 40, 1)
    turn = (np.arctan2(down, across) / np.pi * _HEADINGS) % _HEADINGS
    low = np.floor(turn).astype(int) % _HEADINGS
    beyond = turn - np.floor(turn)
    total = np.bincount(low, weight * (1 - beyond), _HEADINGS + 1)
    total += np.bincount((low + 1) % _HEADINGS, weight * beyond, _HEADINGS + 1)
    total[_HEADINGS] = (1 - weight).sum()
    shares: FloatArray = (total / total.sum()).astype(np.float32)
    return shares
