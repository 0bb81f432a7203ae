"""`files`: masks that somebody else made."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, Masks, PointQueries, Video
from vswap_kernel.video import Excerpt, Selection, matching, open_source, read_masks
from vswap_masks.grow import grow_and_feather
from vswap_masks.register import FilesOptions

_ASPECT_TOLERANCE = 0.01
"""Whole pixels can't keep an aspect exactly: 854x480 and 428x240 are the same picture."""


class Files:
    """Masker that reads a folder of pictures or a video, in natural order of the names.

    There is either one mask for each edited frame, or one for each frame of the whole source, of which those of the
    edited range are taken. Masks of another size but the same aspect are scaled.
    """

    def __init__(self, options: FilesOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        """Masks of the video's size and length.

        Raises:
            InputError: another number of masks than frames, another aspect, a damaged file.
        """
        selection = _choose(self._options, video, video.size)
        return Masks.stream(self._finished(video, selection), self._context.scratch / "masks.safetensors")

    def _finished(self, video: Video, selection: Selection) -> Iterator[ByteArray]:
        options, done = self._options, 0
        for masks in read_masks(options.path, selection):
            fitted = np.stack([_resized(mask, video.size) for mask in masks])
            done += len(masks)
            self._context.progress(done, len(video), "reading masks")
            yield grow_and_feather(fitted >= options.threshold, options.grow, options.feather)


def preflight(options: FilesOptions, facts: Facts) -> None:
    """Check the number and the size of the masks before anything is computed.

    Raises:
        InputError: they don't fit the video, or can't be read.
    """
    _choose(options, facts, facts.size)


def _choose(options: FilesOptions, excerpt: Excerpt, size: tuple[int, int]) -> Selection:
    """Which masks are read, for an edited range of `size` (width, height)."""
    source = open_source(options.path)
    (width, height), (mask_width, mask_height) = size, source.size
    if abs(mask_width * height / (mask_height * width) - 1) > _ASPECT_TOLERANCE:
        raise InputError(
            f"{options.path}: the masks are {mask_width}x{mask_height}, the video is {width}x{height}: another aspect; "
            "make masks of the video's size"
        )
    return matching(source, excerpt)


def _resized(mask: ByteArray, size: tuple[int, int]) -> ByteArray:
    if mask.shape[::-1] == size:
        return mask
    how = cv2.INTER_AREA if mask.shape[1] > size[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, size, interpolation=how), np.uint8)
