"""The video with its subject removed.

What the subject hides in one frame is taken from the nearest frames, before and after, in which it isn't hidden,
brought into place by the camera's motion. What no frame shows is made up once, out of the texture around it, and
carried along by the camera so that it doesn't flicker. Shadows and reflections outside the mask stay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, Masks, Video
from vswap_swappers.alignment import Frame, Window, align, presence_in
from vswap_swappers.camera import CameraModel, Matrix, View, camera_path, largest_step, motion_between, refine_motion
from vswap_swappers.patch_fill import fill_by_patches
from vswap_swappers.push_pull import diffuse
from vswap_swappers.register import WarpOptions
from vswap_swappers.seam import join

_CAMERA: CameraModel = "homography"  # the richest motion that is fitted
_STEP = 2  # only every second frame is copied from, so that neighbours in time copy the same pixels
_GUARD = 3  # pixels around the mask that aren't copied from: soft edges, errors of the mask
_REMEMBERED = 4  # frames with made-up background that are kept to carry it from
_MARGIN = 32  # pixels around the hole that are looked at to align and to match
_LEAST_GAIN = 0.02  # share of the hole that a further source must show; a tenth of it if nothing else shows it
_LEAST_MADE_UP = 48  # pixels: slivers smaller than this are smoothed over, not given texture
_CACHED_BYTES = 64 << 20
_STILL = 0.1  # pixels
_SEEN = 0.1  # presence from which a pixel counts as shown by a source


def build_clean_plate(
    video: Video, masks: Masks, out: Path, options: WarpOptions, progress: Callable[..., None]
) -> Video:
    """Remove the subject from every frame.

    Args:
        video: uint8 [T, H, W, 3].
        masks: uint8 [T, H, W]; wherever a mask isn't 0 is replaced.
        out: an existing folder; `plate.safetensors` is written into it.
        options: reach and shadow count.
        progress: called as (done, total, note).

    Returns:
        A video of the same size, length and rate, equal to the source wherever its mask is 0.

    Raises:
        InputError: the masks don't fit the video, or one covers a whole frame.
    """
    _check(video, masks)
    builder = _Builder(video, masks, options, progress)
    return Video.stream(builder.frames(), out / "plate.safetensors", video.fps)


def _check(video: Video, masks: Masks) -> None:
    if video.frames.shape[:3] != masks.frames.shape:
        raise InputError(
            f"masks: {list(masks.frames.shape)} for a video of {list(video.frames.shape[:3])} "
            "(frames, height, width); make the masks from this very video"
        )
    for start, chunk in masks.chunks():
        full = np.flatnonzero((chunk > 0).all(axis=(1, 2)))
        if len(full):
            raise InputError(
                f"masks: the mask covers all of frame {start + int(full[0])}, so no background is left to go by; "
                "check that mask or leave the frame out"
            )


class _Builder:
    """Makes one plate; holds a handful of frames at a time, however long the video."""

    def __init__(self, video: Video, masks: Masks, options: WarpOptions, progress: Callable[..., None]) -> None:
        self._video, self._masks, self._options, self._progress = video, masks, options, progress
        self._cache: OrderedDict[int, Frame] = OrderedDict()
        self._made_up: OrderedDict[int, Frame] = OrderedDict()
        self._path: NDArray[np.float64] = np.tile(np.eye(3), (len(video), 1, 1))

    def frames(self) -> Iterator[ByteArray]:
        """The plate, frame by frame: uint8 [1, H, W, 3]."""
        if any(chunk.any() for _, chunk in self._masks.chunks()):
            self._path = camera_path(self._video, self._view, _CAMERA, self._progress)
        for index in range(len(self._video)):
            yield self._plate(index)[None]
            if index % 8 == 7:
                self._video.release()
                self._masks.release()
                self._progress(index + 1, len(self._video), "clean plate")

    def _view(self, index: int) -> View:
        return self._load(index).view

    def _load(self, index: int) -> Frame:
        pixels = np.array(self._video.frames[index])
        invalid = unreliable(self._masks.frames[index] > 0, self._options.shadow)
        return Frame(pixels, invalid, View.of(pixels, invalid))

    def _source(self, index: int) -> Frame:
        """A frame to copy from; the last few stay in memory, as neighbours in time copy from the same ones."""
        if index not in self._cache:
            self._cache[index] = self._load(index)
        self._cache.move_to_end(index)
        bound = _CACHED_BYTES // (2 * self._cache[index].pixels.nbytes)
        while len(self._cache) > max(4, min(bound, 48)):
            self._cache.popitem(last=False)
        return self._cache[index]

    def _plate(self, index: int) -> ByteArray:
        hole = self._masks.frames[index] > 0
        target = self._load(index)
        if not hole.any():
            return target.pixels
        window = Window.around(target, hole, _MARGIN)
        holed = window.cut(hole)
        found, coverage = self._find(index, target, window, holed)
        seen = holed & (coverage > _SEEN)
        filled = join(window.pixels, found, seen, ~holed & (coverage > _SEEN))
        plate = target.pixels.copy()
        _paste(window, plate, filled, seen)
        unknown = holed & ~seen
        if unknown.any():
            self._make_up(index, target, window, plate, unknown)
        return plate

    def _sources(self, index: int) -> Iterator[Iterator[int]]:
        """The frames to look at, nearest first: those before `index`, and those after it."""
        for side in (-1, 1):
            yield grid(index, side, len(self._video), self._options.reach)

    def _motion(self, source: Frame, target: Frame, guess: Matrix) -> Matrix:
        motion, _ = refine_motion(source.view, target.view, guess, _CAMERA)
        # A tripod is a tripod: resampling by a hundredth of a pixel would only blur.
        return np.eye(3) if largest_step(motion, self._video.size) < _STILL else motion

    def _find(self, index: int, target: Frame, window: Window, holed: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Colours from other frames, float32 [h, w, 3], and how far they cover each pixel, float32 [h, w] in 0..2."""
        total = np.zeros(window.pixels.shape, np.float32)
        weight = np.full(holed.shape, 1e-12, np.float32)
        coverage = np.zeros(holed.shape, np.float32)
        least = max(8.0, _LEAST_GAIN * holed.sum())
        for side in self._sources(index):
            missing = np.ones(holed.shape, np.float32)
            for other in side:
                source = self._source(other)
                guess = motion_between(self._path, other, index)
                new = np.minimum(presence_in(window, source, guess), missing)
                first = new[holed & (coverage <= _SEEN)].sum()
                if new[holed].sum() < least and first < 0.1 * least:
                    continue
                aligned = align(window, source, self._motion(source, target, guess))
                used = np.minimum(aligned.presence, missing)
                trust = used / ((other - index) ** 2 * (aligned.error**2 + 4.0))
                total += trust[..., None] * aligned.pixels
                weight += trust
                coverage += used
                missing -= used
                if not (missing[holed] > _SEEN).any():
                    break
        return total / weight[..., None], coverage

    def _make_up(self, index: int, target: Frame, window: Window, plate: ByteArray, unknown: BoolArray) -> None:
        """Fill in place what no frame shows: carried from a frame where it was made up before, else made up now."""
        for other, made in reversed(self._made_up.items()):
            if not unknown.any():
                return
            guess = motion_between(self._path, other, index)
            aligned = align(window, made, self._motion(made, target, guess))
            take = unknown & (aligned.presence > _SEEN)
            pixels = window.cut(plate).astype(np.float32)
            _paste(window, plate, join(pixels, aligned.pixels, take, ~unknown & (aligned.presence > _SEEN)), take)
            unknown = unknown & ~take
        if unknown.sum() < _LEAST_MADE_UP:
            pixels = window.cut(plate).astype(np.float32)
            _paste(window, plate, diffuse(pixels, (~unknown).astype(np.float32)), unknown)
            return
        hole = np.zeros(plate.shape[:2], bool)
        window.cut(hole)[:] = unknown
        hidden = self._masks.frames[index] > 0
        plate[:] = fill_by_patches(plate, hole, avoid=target.invalid & ~hidden, seed=index)
        self._made_up[index] = Frame(plate.copy(), np.zeros_like(hole), target.view)
        while len(self._made_up) > _REMEMBERED:
            self._made_up.popitem(last=False)


def unreliable(mask: BoolArray, shadow: float) -> BoolArray:
    """Where a frame shows no background that may be copied: the mask bool [H, W], grown all round and downwards.

    `shadow` is how far it grows downwards, as a share of its height: contact shadows, reflections.
    """
    size = 2 * _GUARD + 1
    kernel: Any = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown: Any = cv2.dilate(mask.astype(np.uint8), kernel)
    drop = int(shadow * cv2.boundingRect(mask.astype(np.uint8))[3])
    below: Any = cv2.dilate(grown, np.ones((drop + 1, 1), np.uint8), anchor=(0, drop))
    result: BoolArray = below > 0
    return result


def grid(index: int, side: int, length: int, reach: int) -> Iterator[int]:
    """Frame numbers on one side (-1 or 1) of `index`, nearest first, at most `reach` away.

    Multiples of 2 nearby, of 4, 8, ... farther out; then the first or last of the `length` frames. On a
    fixed grid, so that frame and frame + 1 mostly copy the same pixels.
    """
    other, stride, last = index, _STEP, 0 if side < 0 else length - 1
    while other != last:
        other = (other // stride + 1) * stride if side > 0 else -((-other) // stride + 1) * stride
        other = min(other, last) if side > 0 else max(other, last)
        if abs(other - index) > reach:
            return
        yield other
        if abs(other - index) >= 4 * stride:
            stride *= 2


def _paste(window: Window, plate: ByteArray, pixels: FloatArray, where: BoolArray) -> None:
    window.cut(plate)[where] = np.clip(np.rint(pixels[where]), 0, 255).astype(np.uint8)
