"""The picture that all frames of a deformation share, and how well it gives them back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from vswap_canonical.deformation.layers import Deformation
from vswap_canonical.deformation.regions import Regions
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, Video

_FRAMES = 48  # of a longer clip, so many evenly spaced ones are averaged and judged
_LARGEST = 640  # px, the picture's longer side
_MARGIN = 0.05  # canonical units around the subject
_LEAST_SEEN = 0.05  # of the weight of the place seen most: below it there is no picture


@dataclass(frozen=True, eq=False)
class CanonicalPicture:
    """colour float32 [h, w, 3], 0..255; seen bool [h, w]; corner float32 [2], the canonical place of its first pixel;
    scale, its pixels in one canonical unit."""

    colour: FloatArray
    seen: BoolArray
    corner: FloatArray
    scale: float

    def rgba(self) -> ByteArray:
        """uint8 [h, w, 4], transparent where no frame shows the subject."""
        alpha = self.seen[..., None] * np.float32(255)
        return np.concatenate([self.colour, alpha], axis=-1).round().clip(0, 255).astype(np.uint8)


def paint(
    video: Video, regions: Regions, deformation: Deformation, reference: int, places: FloatArray, unit: float
) -> CanonicalPicture:
    """The mean of all frames' subject, each pixel weighed by how large its frame shows the subject.

    Args:
        places: float32 [S, 2], canonical places on the subject, which the picture spans.
        unit: pixels of a canonical unit on the frame `reference`, which is the picture's resolution.
    """
    low, high = places.min(0) - _MARGIN, places.max(0) + _MARGIN
    scale = min(unit, _LARGEST / float((high - low).max()))
    width, height = (np.ceil((high - low) * scale).astype(int) + 1).tolist()
    grid = low + np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) / scale
    size = torch.linalg.det(deformation.maps[:, :, :2]).abs().rsqrt()  # pixels in a unit
    total, weight = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    for t in _evenly(len(video)):
        with torch.no_grad():
            at = deformation.from_canonical(torch.from_numpy(grid.astype(np.float32)), torch.full((height,), t)).numpy()
        inside = _sampled(regions.at(t).astype(np.float32), at) * min(1.0, float(size[t] / size[reference])) ** 2
        total += inside[..., None] * _sampled(video.frames[t].astype(np.float32), at)
        weight += inside
        video.release()
    seen = weight > _LEAST_SEEN * weight.max()
    colour = total / np.maximum(weight, 1e-6)[..., None]
    return CanonicalPicture(colour * seen[..., None], seen, low.astype(np.float32), scale)


def picture_psnr(video: Video, regions: Regions, deformation: Deformation, picture: CanonicalPicture) -> float:
    """PSNR in dB of the frames given back from the picture, over the subject's pixels; infinite if equal."""
    squares, count = 0.0, 0
    for t in _evenly(len(video)):
        y, x = np.nonzero(regions.at(t))
        if not len(x):
            continue
        with torch.no_grad():
            xy = torch.from_numpy(np.stack([x, y], -1).astype(np.float32))
            at = deformation.to_canonical(xy[None], torch.tensor([t]))[0].numpy()
        off = _sampled(picture.colour, (at - picture.corner)[None] * picture.scale)[0] - video.frames[t][y, x]
        squares, count = squares + float((off.astype(np.float64) ** 2).sum()), count + off.size
        video.release()
    return float(10 * np.log10(255**2 * count / squares)) if squares else float("inf")


def _evenly(frames: int) -> list[int]:
    return sorted({round(frame) for frame in np.linspace(0, frames - 1, _FRAMES).tolist()})


def _sampled(image: FloatArray, at: FloatArray) -> FloatArray:
    """Bilinear values of image [h, w] or [h, w, 3] at places [a, b, 2]; 0 outside a mask, the border repeated outside
    a picture."""
    border = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    at = np.clip(at, -(2.0**14), 2.0**14).astype(np.float32)
    columns = 4096  # OpenCV takes maps of less than 32768 columns
    if at.shape[1] > columns:
        parts = [_sampled(image, at[:, start : start + columns]) for start in range(0, at.shape[1], columns)]
        return np.concatenate(parts, axis=1)
    return np.asarray(cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=border), np.float32)
