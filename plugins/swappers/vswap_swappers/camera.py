"""How the camera moved between frames, from the background alone.

A motion is a float64 [3, 3] matrix: it takes homogeneous pixel coordinates (x, y, 1) of one frame to those of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import Video

CameraModel = Literal["translation", "similarity", "homography"]
Matrix = NDArray[np.float64]
Image = NDArray[np.uint8]
Points = NDArray[np.float32]

_WORKING_SIDE = 640
_PATCH, _LEVELS = (15, 15), 3  # of Lucas-Kanade: window and pyramid levels, up to some 30 pixels of motion
_TOLERANCE = 1.5  # pixels, both for the forward-backward check and for an inlier of the fit
_ENOUGH = {"translation": 4, "similarity": 10, "homography": 24}
_SPREAD = {"translation": 0.0, "similarity": 0.02, "homography": 0.12}  # hull of the inliers, share of the frame


@dataclass(frozen=True, eq=False)
class View:
    """A frame as the motion estimate sees it: reduced to at most 640 pixels a side, grey, with its background marked.

    gray uint8 [h, w]; background uint8 [h, w], 255 where the frame may be trusted; scale = reduced / full size.
    """

    gray: Image
    background: Image
    scale: float

    @classmethod
    def of(cls, frame: Image, invalid: NDArray[np.bool_]) -> View:
        """Of a frame uint8 [H, W, 3] RGB and where it can't be used, bool [H, W]."""
        height, width = invalid.shape
        scale = min(1.0, _WORKING_SIDE / max(height, width))
        gray: Any = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        usable: Any = np.where(invalid, 0, 255).astype(np.uint8)
        if scale < 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
            usable = cv2.resize(usable, size, interpolation=cv2.INTER_NEAREST)
        return cls(gray, usable, scale)

    def features(self) -> Points:
        """Corners of the background, spread over the frame: float32 [N, 2] (x, y) in the reduced frame, N <= 300."""
        apart = max(5.0, max(self.gray.shape) / 50)
        found: Any = cv2.goodFeaturesToTrack(self.gray, 300, 0.003, apart, mask=self.background)
        return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)


def track_both_ways(source: Image, target: Image, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Follow points [N, 2] of `source` into `target` and back (Bouguet 2001: pyramidal Lucas-Kanade).

    Returns:
        Where they went, float32 [N, 2], and which came back to within 1.5 pixels, bool [N].
    """
    if len(points) == 0:
        return points, np.zeros(0, bool)
    start = points[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(source, target, start, start.copy(), winSize=_PATCH, maxLevel=_LEVELS)
    back, refound, _ = cv2.calcOpticalFlowPyrLK(target, source, there, there.copy(), winSize=_PATCH, maxLevel=_LEVELS)
    returned = np.linalg.norm(back[:, 0] - points, axis=1) < _TOLERANCE
    moved: Points = there[:, 0].astype(np.float32)
    # A window that sticks out of the frame drags its point along with the border: 25 times the drift.
    returned &= _well_inside(points, source.shape) & _well_inside(moved, target.shape)
    return moved, returned & (found[:, 0] > 0) & (refound[:, 0] > 0)


def fit_motion(source: Points, target: Points, model: CameraModel, size: tuple[int, int]) -> tuple[Matrix, int]:
    """Fit the richest motion up to `model` that enough well-spread points [N, 2] agree on.

    Homography, similarity, translation, identity: each is tried in turn. `size` is (width, height) of the frame.

    Returns:
        The motion from source to target, and the number of points that agree (0 for the identity).
    """
    ladder: tuple[CameraModel, ...] = ("translation", "similarity", "homography")
    for step in reversed(ladder[: ladder.index(model) + 1]):
        if len(source) < _ENOUGH[step]:
            continue
        _, inliers = _fit(source, target, step)
        if inliers.sum() < _ENOUGH[step] or _hull_area(source[inliers]) < _SPREAD[step] * size[0] * size[1]:
            continue
        matrix = _polish(source[inliers], target[inliers], step)
        if matrix is not None and _sane(matrix, size):
            return matrix, int(inliers.sum())
    return np.eye(3), 0


def refine_motion(source: View, target: View, guess: Matrix, model: CameraModel) -> tuple[Matrix, int]:
    """Correct the guess of the motion that takes `source` to `target` (full-size pixels).

    The source is warped by the guess, so that what is left to track is small even between frames far apart.

    Returns:
        The motion, and the number of points it rests on: with 0 it is the guess itself.
    """
    height, width = target.gray.shape
    zoom = np.diag([target.scale, target.scale, 1.0])
    unzoom = np.diag([1 / target.scale, 1 / target.scale, 1.0])
    warp = zoom @ guess @ unzoom
    gray: Any = cv2.warpPerspective(source.gray, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)
    usable: Any = cv2.warpPerspective(source.background, warp, (width, height), flags=cv2.INTER_NEAREST)
    shared: Any = cv2.bitwise_and(target.background, usable)
    points = View(target.gray, shared, target.scale).features()
    moved, good = track_both_ways(target.gray, gray, points)
    residual, support = fit_motion(moved[good], points[good], model, (width, height))
    return normalise(unzoom @ residual @ zoom @ guess), support


def camera_path(
    video: Video, views: Callable[[int], View], model: CameraModel, progress: Callable[..., None]
) -> NDArray[np.float64]:
    """The motion that takes each frame to frame 0: float64 [T, 3, 3], chained from neighbour to neighbour.

    Args:
        video: only its length is used, and its memory given back now and then.
        views: makes the view of a frame.
        model: the richest motion to fit between neighbours.
        progress: called as (done, total, note).
    """
    cv2.setRNGSeed(0)
    path = np.tile(np.eye(3), (len(video), 1, 1))
    before = views(0)
    for index in range(1, len(video)):
        view = views(index)
        step, _ = refine_motion(view, before, np.eye(3), model)
        path[index] = normalise(path[index - 1] @ step)
        before = view
        if index % 16 == 0:
            video.release()
            progress(index, len(video), "camera motion")
    return path


def motion_between(path: NDArray[np.float64], source: int, target: int) -> Matrix:
    """The motion from frame `source` to frame `target`, out of what `camera_path` returned."""
    return normalise(np.linalg.inv(path[target]) @ path[source])


def largest_step(motion: Matrix, size: tuple[int, int]) -> float:
    """How far the motion moves the corner of the frame that it moves most, in pixels. `size` is (width, height)."""
    width, height = size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float64)
    moved = cv2.perspectiveTransform(corners[None], motion)[0]
    return float(np.linalg.norm(moved - corners, axis=1).max())


def normalise(matrix: Matrix) -> Matrix:
    """The same motion with 1 in its last entry."""
    unit: Matrix = matrix / matrix[2, 2]
    return unit


def _fit(source: Points, target: Points, model: CameraModel) -> tuple[Matrix | None, NDArray[np.bool_]]:
    if model == "homography":
        found, inliers = cv2.findHomography(source, target, cv2.RANSAC, _TOLERANCE, maxIters=500, confidence=0.999)
    elif model == "similarity":
        found, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=_TOLERANCE, confidence=0.999)
    else:
        return _fit_translation(source, target)
    if found is None:
        return None, np.zeros(len(source), bool)
    matrix = np.eye(3)
    matrix[: len(found)] = found
    return matrix, inliers.ravel().astype(bool)


def _polish(source: Points, target: Points, model: CameraModel) -> Matrix | None:
    """Fit again to the half or more of the inliers that agree best: a corner near the subject is drawn along a bit."""
    matrix, kept = _fit(source, target, model)
    for _ in range(3):
        if matrix is None or kept.sum() < _ENOUGH[model]:
            return matrix
        off = np.linalg.norm(cv2.perspectiveTransform(source[None], matrix)[0] - target, axis=1)
        kept = off <= max(0.05, 1.5 * float(np.median(off)))
        matrix, _ = _fit(source[kept], target[kept], model)
    return matrix


def _fit_translation(source: Points, target: Points) -> tuple[Matrix, NDArray[np.bool_]]:
    moved = (target - source).astype(np.float64)
    near = np.linalg.norm(moved - np.median(moved, axis=0), axis=1) < 2 * _TOLERANCE
    matrix = np.eye(3)
    matrix[:2, 2] = moved[near].mean(axis=0) if near.any() else 0.0
    return matrix, near


def _well_inside(points: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    half = np.array(_PATCH) // 2
    inside: NDArray[np.bool_] = ((points >= half) & (points < np.array(shape[1::-1]) - 1 - half)).all(axis=1)
    return inside


def _hull_area(points: Points) -> float:
    return float(cv2.contourArea(cv2.convexHull(points))) if len(points) >= 3 else 0.0


def _sane(matrix: Matrix, size: tuple[int, int]) -> bool:
    """Whether the frame keeps its shape, more or less: a fit to parallax or to water folds it."""
    width, height = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64) @ matrix.T
    if not np.isfinite(corners).all() or (corners[:, 2] <= 0.2).any():
        return False
    moved = (corners[:, :2] / corners[:, 2:]).astype(np.float32)
    area = float(cv2.contourArea(moved, True)) / (width * height)
    return 0.4 < area < 2.5 and bool(cv2.isContourConvex(moved))
