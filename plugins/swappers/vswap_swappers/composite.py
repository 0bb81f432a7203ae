"""Lays the new subject over the clean plate, one frame at a time."""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import ByteArray
from vswap_swappers.carry import Motion
from vswap_swappers.cutout_pyramid import CutoutPyramid
from vswap_swappers.linear_fit import Array
from vswap_swappers.occlusion import OccluderFinder

_HALF = 128.0  # a pixel that is half the old subject is replaced whole; from there the plate fades out to the source


class Composer:
    """Puts frames together: source outside the old subject's mask, plate inside, the new subject over both, and over
    that whatever stood in front of the old one."""

    def __init__(self, pyramid: CutoutPyramid, motion: Motion, gain: Array, finder: OccluderFinder | None) -> None:
        """gain [T]: factor on the cut-out's colours in each frame."""
        self._pyramid, self._motion, self._gain, self._finder = pyramid, motion, gain, finder

    def compose(self, frame: int, source: ByteArray, mask: ByteArray, plate: ByteArray) -> ByteArray:
        """Result and visible alpha of the new subject, uint8 [H, W, 4].

        Pixels where both the mask and that alpha are 0 are those of the source, bit by bit.
        """
        height, width = mask.shape
        out = np.zeros((height, width, 4), np.uint8)
        share = np.minimum(mask[..., None] / np.float32(_HALF), 1.0)
        below = np.rint(source + share * (plate.astype(np.float32) - source))
        out[..., :3] = np.where(mask[..., None] > 0, below, source)
        layer = self._pyramid.layer(self._motion, frame, (width, height))
        if layer is None:
            return out
        place = (layer.rows, layer.columns)
        image = layer.image
        front = self._finder.occluder(frame) if self._finder else None
        if front is not None:
            image = image * (1.0 - front[place])[..., None]
        alpha = np.rint(image[..., 3]).clip(0, 255)
        colour = np.minimum(image[..., :3] * self._gain[frame], image[..., 3:])
        mixed = colour + below[place] * (1.0 - image[..., 3:] / 255.0)
        out[place] = np.where(alpha[..., None] > 0, np.dstack([np.rint(mixed).clip(0, 255), alpha]), out[place])
        return out
