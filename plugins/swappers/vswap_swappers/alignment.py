"""Bring one frame's background into another frame: camera motion, then local flow, then exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_swappers.camera import Matrix, View
from vswap_swappers.push_pull import diffuse

_LARGEST_FLOW = 0.02  # of the frame's longer side: more than that is a mistake, not parallax
_FEATHER = 6.0  # pixels over which a source fades in from the edge of what it shows


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame, and where it shows no usable background.

    pixels uint8 [H, W, 3] RGB; invalid bool [H, W]; view, the same frame for the estimate of the camera's motion.
    """

    pixels: ByteArray
    invalid: BoolArray
    view: View


@dataclass(frozen=True, eq=False)
class Window:
    """The part of the target frame that is worked on: column `x`, row `y` of its corner, and what is in it.

    pixels float32 [h, w, 3]; gray uint8 [h, w]; invalid bool [h, w], where it shows no usable background.
    """

    x: int
    y: int
    pixels: FloatArray
    gray: ByteArray
    invalid: BoolArray

    @classmethod
    def around(cls, frame: Frame, hole: BoolArray, margin: int) -> Window:
        """The bounding box of `hole` [H, W], which isn't empty, with a margin in pixels."""
        x, y, width, height = cv2.boundingRect(hole.astype(np.uint8))
        rows = slice(max(0, y - margin), y + height + margin)
        columns = slice(max(0, x - margin), x + width + margin)
        pixels = frame.pixels[rows, columns]
        gray: Any = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return cls(columns.start, rows.start, pixels.astype(np.float32), gray, frame.invalid[rows, columns])

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The same part of another image [H, W, ...]."""
        height, width = self.invalid.shape
        return image[self.y : self.y + height, self.x : self.x + width]


@dataclass(frozen=True, eq=False)
class Aligned:
    """A source frame as seen in a window of the target.

    pixels float32 [h, w, 3]; presence float32 [h, w], 0 where the source shows nothing usable, 1 well inside what it
    shows; error, the mean absolute difference where both show background (grey levels).
    """

    pixels: FloatArray
    presence: FloatArray
    error: float


def presence_in(window: Window, source: Frame, motion: Matrix) -> FloatArray:
    """Where the source shows usable background: float32 [h, w] in 0..1, fading in over a few pixels."""
    height, width = window.invalid.shape
    shown = np.where(source.invalid, 0, 255).astype(np.uint8)
    warped: Any = cv2.warpPerspective(shown, _into(window, motion), (width, height), flags=cv2.INTER_NEAREST)
    if (warped > 0).all():
        return np.ones((height, width), np.float32)
    distance: Any = cv2.distanceTransform(warped, cv2.DIST_L2, 3)
    faded: FloatArray = np.minimum(distance / _FEATHER, 1.0)
    return faded


def align(window: Window, source: Frame, motion: Matrix) -> Aligned:
    """Resample the source once, through motion and flow together, and match its exposure to the target's."""
    presence = presence_in(window, source, motion)
    height, width = window.invalid.shape
    warp = _into(window, motion)
    rough: Any = cv2.warpPerspective(source.pixels, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)
    shared = (presence > 0.5) & ~window.invalid
    gain = _gain(window, rough, shared)
    matched = np.clip(rough * gain, 0, 255).astype(np.uint8)
    flow = _local_flow(window, matched, shared, max(source.invalid.shape))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grid = np.stack([x, y], axis=-1) + flow
    places: Any = cv2.perspectiveTransform(grid, np.linalg.inv(warp))
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    fine: Any = cv2.remap(source.pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    pixels = fine.astype(np.float32) * gain
    where = shared.astype(np.uint8)
    error = float(np.mean(cv2.mean(cv2.absdiff(pixels, window.pixels), where)[:3])) if shared.any() else 255.0
    return Aligned(pixels, presence, error)


def _into(window: Window, motion: Matrix) -> Matrix:
    """The motion, to the window's pixels."""
    shift = np.eye(3)
    shift[:2, 2] = -window.x, -window.y
    into: Matrix = shift @ motion
    return into


def _gain(window: Window, source: ByteArray, shared: BoolArray) -> FloatArray:
    """What the source's channels are multiplied by to be as bright as the target: float32 [3]."""
    gray: Any = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)
    alike = (shared & (cv2.absdiff(gray, window.gray) < 48)).astype(np.uint8)
    if cv2.countNonZero(alike) < 64:
        return np.ones(3, np.float32)
    ratio = (np.array(cv2.mean(window.pixels, alike)[:3]) + 1) / (np.array(cv2.mean(source, alike)[:3]) + 1)
    gain: FloatArray = np.clip(ratio, 0.8, 1.25).astype(np.float32)
    return gain


def _local_flow(window: Window, source: ByteArray, shared: BoolArray, side: int) -> FloatArray:
    """What the camera's motion leaves over: measured where both show background, spread smoothly into the hole.

    Dense inverse search (Kroeger et al. 2016). Returns float32 [h, w, 2]: target pixel + flow = pixel of `source`.
    """
    none = np.zeros((*shared.shape, 2), np.float32)
    if min(shared.shape) < 24 or shared.sum() < 256:
        return none
    gray: Any = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)
    # Elsewhere the two pictures are made equal, so that the subject doesn't pull the flow along with it.
    wanted = np.where(shared, window.gray, gray)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow: Any = search.calc(wanted, gray, none.copy())
    inside: Any = cv2.erode(shared.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1) > 0
    small = np.maximum(np.abs(flow[..., 0]), np.abs(flow[..., 1])) < _LARGEST_FLOW * side
    slope_x: Any = cv2.Sobel(wanted, cv2.CV_32F, 1, 0, scale=0.125)
    slope_y: Any = cv2.Sobel(wanted, cv2.CV_32F, 0, 1, scale=0.125)
    texture: Any = cv2.blur(slope_x**2 + slope_y**2, (9, 9))
    trust = np.where(inside & small, texture / (texture + 4.0), 0.0).astype(np.float32)
    smooth: FloatArray = diffuse(flow, np.maximum(trust, 0.002))
    return smooth if _helps(window, gray, smooth, inside & small) else none


def _helps(window: Window, gray: ByteArray, flow: FloatArray, where: BoolArray) -> bool:
    """Whether the flow makes the two frames clearly more alike: on water it only adds noise."""
    if not where.any():
        return False
    x, y = np.meshgrid(np.arange(gray.shape[1], dtype=np.float32), np.arange(gray.shape[0], dtype=np.float32))
    moved: Any = cv2.remap(gray, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = where.astype(np.uint8)
    before, after = (cv2.mean(cv2.absdiff(image, window.gray), mask)[0] for image in (gray, moved))
    return bool(after < 0.95 * before)
