"""Dense optical flow between frames, read at points, and how far it misses on the way back."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import ByteArray, FloatArray

_COLUMNS = 4096


class DenseFlow:
    """DIS optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), by OpenCV."""

    def __init__(self, patch: int = 8, stride: int = 3) -> None:
        """patch: side of the squares that are matched; stride: how far apart they are, in pixels. Smaller and denser
        ones keep to thin limbs, and take longer."""
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # the preset stops at half size, which is what slips off thin limbs
        self._dis.setFinestScale(0)
        self._dis.setPatchSize(patch)
        self._dis.setPatchStride(stride)

    def both_ways(self, before: ByteArray, after: ByteArray, xy: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where points xy [N, 2] of the grey frame `before`, uint8 [h, w], are in `after`: places [N, 2], and by how
        many pixels [N] the flow back misses the start."""
        ahead, back = self.between(before, after), self.between(after, before)
        places = xy + read_at(ahead, xy)
        return places, np.linalg.norm(places + read_at(back, places) - xy, axis=1)

    def between(self, before: ByteArray, after: ByteArray) -> FloatArray:
        """By how much each pixel of `before` moves until `after`: float32 [h, w, 2], (x, y) pixels."""
        empty = np.zeros((*before.shape, 2), np.float32)
        return np.asarray(self._dis.calc(before, after, empty), np.float32)


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
