"""What passes in front of the subject.

The subject's silhouette and colours are gathered over the clip in the cut-out's coordinates, in which the subject
stands still. Where a frame's mask lacks a coherent piece of that silhouette, and what is seen there doesn't look like
the subject, something stands in front, or the subject has turned or moved a limb. Only what lies between counts as
standing in front: parts of the subject on both sides of it, or the same part seen both before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, ByteArray, FloatArray, Masks, PointTracks, Video
from vswap_swappers.carry import Motion
from vswap_swappers.cutout_pyramid import dense_inverse
from vswap_swappers.linear_fit import Array

_GRID = 128  # pixels of the silhouette's longer side
_FRAMES = 48  # looked at for the silhouette
_WORK = 240  # pixels of a frame's longer side while looking for occluders
_PRESENT = 0.2  # share of the frames in which a part is seen, for it to belong to the silhouette
_LEAST_AREA = 0.015  # of the silhouette
_LEAST_DEPTH = 0.1  # of the silhouette's size: a piece has to reach so far in, an inexact outline doesn't
_OPEN_DEPTH = 0.18  # the same for a piece that doesn't cut the silhouette in two: a gap between legs isn't so deep
_PART = 0.04  # of the silhouette's area: what counts as a part of it
_UNLIKE = 2.0  # standard deviations between what is seen and the subject's own colour there
_BETWEEN = 0.6  # of a piece's area
_LASTING = 0.3  # of a piece's area: so much of it must be there in a neighbouring frame
_MOVED = 0.5  # of a piece's area: so much mask beside the silhouette means that the piece has only moved


@dataclass(frozen=True, eq=False)
class Appearance:
    """The subject at rest: present float32 [h, w], the share of frames that show each part; first and last float32
    [h, w], the frames between which it is shown; colour and deviation float32 [h, w, 3]; a cut-out point c is at pixel
    (c - origin) * scale."""

    present: FloatArray
    first: FloatArray
    last: FloatArray
    colour: FloatArray
    deviation: FloatArray
    origin: Array
    scale: float


def _extent(masks: Masks, motion: Motion, frames: NDArray[np.int64]) -> Array:
    """(x0, y0, x1, y1) in cut-out pixels of the masks' boxes: the median box, half as large again each way."""
    boxes = []
    for frame in frames.tolist():
        x, y, width, height = cv2.boundingRect((masks.frames[frame] > 127).astype(np.uint8))
        if width:
            corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]], np.float64)
            inside = motion.inverse(frame, corners)
            boxes.append(np.concatenate([inside.min(0), inside.max(0)]))
    if not boxes:
        return np.array([0.0, 0.0, 1.0, 1.0])
    middle = np.median(boxes, axis=0)
    margin = 0.25 * (middle[2:] - middle[:2])
    return np.concatenate([middle[:2] - margin, middle[2:] + margin])


def gather_appearance(video: Video, masks: Masks, motion: Motion) -> Appearance:
    """Average what up to 48 frames show of the subject."""
    frames = np.unique(np.linspace(0, len(video) - 1, min(_FRAMES, len(video))).astype(np.int64))
    extent = _extent(masks, motion, frames)
    scale = _GRID / float((extent[2:] - extent[:2]).max())
    width, height = np.maximum(np.ceil((extent[2:] - extent[:2]) * scale), 1).astype(int).tolist()
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) / scale + extent[:2]
    sums = np.zeros((height, width, 8), np.float32)
    shown = np.zeros((len(frames), height, width), np.bool_)
    for index, frame in enumerate(frames.tolist()):
        place = motion.forward(frame, grid.reshape(-1, 2)).reshape(height, width, 2).astype(np.float32)
        seen = _sample(np.dstack([masks.frames[frame], video.frames[frame]]), place)
        inside = np.all((place >= 0) & (place <= np.array(video.size) - 1), axis=-1, keepdims=True)
        on = (seen[..., :1] > 127).astype(np.float32)
        shown[index] = on[..., 0] > 0
        colour = seen[..., 1:].astype(np.float32)
        sums += np.concatenate([on, on * colour, on * colour**2, inside], axis=2)
    video.release()
    masks.release()
    count = np.maximum(sums[..., :1], 1)
    mean = sums[..., 1:4] / count
    deviation = np.sqrt(np.maximum(sums[..., 4:7] / count - mean**2, 0))
    first, last = _first_and_last(shown, frames)
    present = sums[..., 0] / np.maximum(sums[..., 7], 1)
    colours = (mean.astype(np.float32), deviation.astype(np.float32))
    return Appearance(present.astype(np.float32), first, last, *colours, extent[:2], scale)


def _first_and_last(shown: BoolArray, frames: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """The frames at which a twentieth of a part's showings are past, and before which all but a twentieth are."""
    passed = np.cumsum(shown, axis=0)
    total = passed[-1]
    enough = np.maximum(2, 0.05 * total)
    first = frames[np.argmax(passed >= enough, axis=0)]
    last = frames[np.argmax(passed >= total - enough + 1, axis=0)]
    never = total < 2
    return np.where(never, np.inf, first).astype(np.float32), np.where(never, -np.inf, last).astype(np.float32)


def _sample(image: NDArray[Any], at: FloatArray) -> NDArray[Any]:
    return np.asarray(cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


def _nearest(image: FloatArray, at: FloatArray) -> FloatArray:
    return np.asarray(cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT))


def _flanked(mask: BoolArray) -> BoolArray:
    """Pixels with mask on both sides, along their row or their column."""
    sides = []
    for axis in (0, 1):
        before = np.logical_or.accumulate(mask, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
        sides.append(before & after)
    return np.asarray(sides[0] | sides[1])


def _disc(radius: float) -> ByteArray:
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


class OccluderFinder:
    """Says of each frame where something stands in front of the subject."""

    def __init__(self, video: Video, masks: Masks, motion: Motion, tracks: PointTracks) -> None:
        self._video, self._masks, self._motion, self._tracks = video, masks, motion, tracks
        self._rest = gather_appearance(video, masks, motion)
        self._factor = min(1.0, _WORK / max(video.size))
        self._found: dict[int, BoolArray] = {}

    def occluder(self, frame: int) -> FloatArray | None:
        """float32 [H, W], 1 where something is in front; None when nothing is. A piece must show in a neighbouring
        frame too, so that a mask which fails for one frame hides nothing."""
        near = [f for f in (frame - 1, frame, frame + 1) if 0 <= f < len(self._video)]
        self._found = {f: self._found[f] if f in self._found else self._pieces(f) for f in near}
        here = self._found[frame]
        others = [self._found[f] for f in near if f != frame]
        if not here.any() or not others:
            return None
        beside = cv2.dilate(np.any(others, axis=0).astype(np.uint8), _disc(2)) > 0
        count, labels = cv2.connectedComponents(here.astype(np.uint8))
        pieces = [labels == label for label in range(1, count)]
        kept = [piece for piece in pieces if (beside & piece).sum() > _LASTING * piece.sum()]
        if not kept:
            return None
        piece = cv2.dilate(np.any(kept, axis=0).astype(np.uint8), _disc(4)).astype(np.float32)
        mask = self._masks.frames[frame]
        whole = cv2.resize(piece, self._video.size, interpolation=cv2.INTER_LINEAR) > 0.5
        return np.asarray(cv2.GaussianBlur((whole & (mask < 128)).astype(np.float32), (0, 0), 0.7), np.float32)

    def _pieces(self, frame: int) -> BoolArray:
        """Candidates in one frame, bool [h, w] at working size."""
        width, height = (max(1, round(side * self._factor)) for side in self._video.size)
        mask = cv2.resize(self._masks.frames[frame], (width, height), interpolation=cv2.INTER_AREA) > 127
        dense = dense_inverse(self._motion, frame, np.zeros(2, np.int64), np.array(self._video.size))
        place = np.asarray(cv2.resize(dense, (width, height), interpolation=cv2.INTER_NEAREST), np.float64)
        rest = self._rest
        at = ((place - rest.origin) * rest.scale).astype(np.float32)
        expected = _sample(rest.present, at) > _PRESENT
        size = float(np.sqrt(max(expected.sum(), 1)))
        missing = expected & (cv2.dilate(mask.astype(np.uint8), _disc(0.03 * size)) == 0)
        opened = cv2.morphologyEx(missing.astype(np.uint8), cv2.MORPH_OPEN, _disc(0.04 * size))
        if not opened.any():
            return np.zeros_like(mask)
        between = _flanked(mask) | ((_nearest(rest.first, at) < frame) & (_nearest(rest.last, at) > frame))
        beside = mask & (cv2.dilate(expected.astype(np.uint8), _disc(0.03 * size)) == 0)
        depth = np.asarray(cv2.distanceTransform(expected.astype(np.uint8), cv2.DIST_L2, 3), np.float32)
        picture = cv2.resize(self._video.frames[frame], (width, height), interpolation=cv2.INTER_AREA)
        off = np.abs(picture.astype(np.float32) - _sample(rest.colour, at))
        unlike = (off / np.maximum(_sample(rest.deviation, at), 10.0)).max(-1)
        shown = np.zeros_like(mask)
        points = np.rint(self._tracks.xy[frame][self._tracks.visible[frame]] * self._factor).astype(int)
        column, row = np.clip(points, 0, np.array([width, height]) - 1).T
        shown[row, column] = True
        return accepted(np.asarray(opened, np.uint8), Evidence(between, beside, depth, unlike, shown, size))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What tells an occluder from a subject that moved, per pixel [h, w] at working size.

    between: flanked by the subject in space or in time; beside: mask outside of the silhouette; depth: distance from
    the silhouette's edge; unlike: standard deviations from the subject's colour; shown: a visible point lies there;
    size: root of the silhouette's area.
    """

    between: BoolArray
    beside: BoolArray
    depth: FloatArray
    unlike: FloatArray
    shown: BoolArray
    size: float


def _splits(piece: BoolArray, evidence: Evidence) -> bool:
    """Whether the silhouette falls into several large parts without the piece."""
    rest = (evidence.depth > 0) & (cv2.dilate(piece.astype(np.uint8), _disc(0.06 * evidence.size)) == 0)
    count, _, stats, _ = cv2.connectedComponentsWithStats(rest.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] > _PART * evidence.size**2).sum()) > 1 if count > 2 else False


def accepted(pieces: ByteArray, evidence: Evidence) -> BoolArray:
    """The connected pieces for which all the evidence speaks."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pieces)
    kept = []
    for label in range(1, count):
        area = stats[label, cv2.CC_STAT_AREA]
        piece = labels == label
        around = cv2.dilate(piece.astype(np.uint8), _disc(np.sqrt(area))) > 0
        deep = _LEAST_DEPTH if _splits(piece, evidence) else _OPEN_DEPTH
        large = area >= _LEAST_AREA * evidence.size**2 and evidence.depth[piece].max() >= deep * evidence.size
        moved = (evidence.beside & around).sum() > _MOVED * area or evidence.shown[piece].any()
        between = evidence.between[piece].mean() > _BETWEEN
        if large and between and not moved and np.median(evidence.unlike[piece]) > _UNLIKE:
            kept.append(label)
    return np.asarray(np.isin(labels, kept))
