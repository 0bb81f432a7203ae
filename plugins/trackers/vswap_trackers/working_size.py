"""The size at which a video is tracked, and its frames at that size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vswap_kernel.types import ByteArray, FloatArray

_SOFTENING = 1.0
"""Pixels (standard deviation) by which colours are blurred before they are compared: compression isn't a difference."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as the flow sees it: grey uint8 [h, w], and colour float32 [h, w, 3], soft CIE Lab in 0..255."""

    grey: ByteArray
    colour: FloatArray


@dataclass(frozen=True)
class WorkingSize:
    """Frames are scaled to one size, so that reach and cost of the flow are the same for every video.

    Attributes:
        size: (width, height) of the video.
        scaled: the same of the scaled frames.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], short_side: int) -> WorkingSize:
        """The shorter side is about `short_side`; a video that is less than a quarter off stays as it is."""
        factor = short_side / min(size)
        if 0.8 <= factor <= 1.25:
            factor = 1.0
        return cls(size, (max(16, round(size[0] * factor)), max(16, round(size[1] * factor))))

    @property
    def factor(self) -> FloatArray:
        """float32 [2]: scaled over original width and height."""
        return np.divide(self.scaled, self.size).astype(np.float32)

    def into(self, xy: FloatArray) -> FloatArray:
        """Places [..., 2] of the video as places of the scaled frames."""
        return np.asarray((xy + 0.5) * self.factor - 0.5, np.float32)

    def back(self, xy: FloatArray) -> FloatArray:
        """Places [..., 2] of the scaled frames as places of the video."""
        return np.asarray((xy + 0.5) / self.factor - 0.5, np.float32)

    def prepared(self, rgb: ByteArray) -> Frame:
        """A frame uint8 [H, W, 3] of the video, scaled."""
        if self.scaled != self.size:
            shrinks = self.scaled[0] < self.size[0]
            rgb = np.asarray(cv2.resize(rgb, self.scaled, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
        lab = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)
        soft = np.asarray(cv2.GaussianBlur(lab, (0, 0), _SOFTENING), np.float32)
        return Frame(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)), soft)
