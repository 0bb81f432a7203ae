"""Dense optical flow between frames, read at points, and how far it misses on the way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vswap_kernel.types import ByteArray, FloatArray

_SOFTENING = 1.0
"""Pixels (standard deviation) by which colours are blurred before they are compared: compression isn't a difference."""
_COLUMNS = 4096


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


class DenseFlow:
    """DIS optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), by OpenCV."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # the preset stops at half size, which is what slips off thin limbs
        self._dis.setFinestScale(0)

    def both_ways(self, before: Frame, after: Frame, xy: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where points xy [N, 2] of `before` are in `after`: places [N, 2], and by how many pixels [N] the flow back
        misses the start."""
        ahead, back = self._flow(before, after), self._flow(after, before)
        places = xy + read_at(ahead, xy)
        return places, np.linalg.norm(places + read_at(back, places) - xy, axis=1)

    def _flow(self, before: Frame, after: Frame) -> FloatArray:
        empty = np.zeros((*before.grey.shape, 2), np.float32)
        return np.asarray(self._dis.calc(before.grey, after.grey, empty), np.float32)


def read_at(image: FloatArray, xy: FloatArray) -> FloatArray:
    """Bilinear values float32 [..., C] of image [h, w, C] at places [..., 2]; the border is repeated outwards."""
    if not xy.size:
        return np.zeros((*xy.shape[:-1], image.shape[2]), np.float32)
    places = np.clip(xy.reshape(-1, 2), -(2.0**14), 2.0**14).astype(np.float32)
    # OpenCV takes maps of less than 32768 rows and columns
    count, columns = len(places), min(len(places), _COLUMNS)
    x, y = np.pad(places, ((0, -count % columns), (0, 0))).T.reshape(2, -1, columns)
    values = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32).reshape(-1, image.shape[2])[:count].reshape(*xy.shape[:-1], -1)
