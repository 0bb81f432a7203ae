"""The figures of tracking, as published.

TAP-Vid: Doersch et al., "TAP-Vid: A Benchmark for Tracking Any Point in a Video" (NeurIPS 2022), section 3 and its
published evaluation. Distances are those of a frame of 256 x 256 pixels: an error of (dx, dy) pixels counts as
(dx * 256 / width, dy * 256 / height), wherever pixel centres lie. Within a threshold means nearer than it.

PCK: the percentage of correct keypoints, of joints annotated in a few frames, as for BADJA (Biggs et al., "Creatures
Great and SMAL", ACCV 2018, section 5), told as a share: within so much of the square root of the subject's area in that
frame, or exactly so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import BoolArray, FloatArray

REVISION = 1  # raise it when figures change, so that those kept before aren't taken for new ones
SIDE = 256
THRESHOLDS = (1, 2, 4, 8, 16)
PCK_SHARES = (0.1, 0.2)


def evaluated_frames(query_frame: NDArray[np.int32], frames: int, mode: str) -> BoolArray:
    """In which frames each query counts: bool [T, N].

    query_frame: int32 [N]. mode: "first", the frames after the query's; "strided", all but the query's.
    """
    since = np.arange(frames)[:, None] - query_frame
    return np.asarray(since > 0 if mode == "first" else since != 0)


def tapvid_figures(
    truth_xy: FloatArray,
    truth_visible: BoolArray,
    found_xy: FloatArray,
    found_visible: BoolArray,
    counted: BoolArray,
    size: tuple[int, int],
) -> dict[str, float]:
    """TAP-Vid's figures of one clip, each in 0..1, NaN where nothing is left to judge.

    Args:
        truth_xy, found_xy: float32 [T, N, 2] pixels of the video.
        truth_visible, found_visible: bool [T, N].
        counted: bool [T, N], see `evaluated_frames`.
        size: (width, height) of the video in pixels.

    Returns:
        "delta@1" ... "delta@16": of the visible places, the share that was found within so many pixels, whether or not
        it was told to be visible; "delta_avg", their mean. "jaccard@1" ...: true positives over true positives, false
        negatives and false positives, where a positive is a place that is told to be visible, true if it is and is
        within so many pixels; "aj", their mean. "oa": the share of all places whose visibility is told rightly.
    """
    scale = SIDE / np.array(size, np.float64)
    squared = np.square((found_xy.astype(np.float64) - truth_xy) * scale).sum(axis=2)
    seen, told = truth_visible & counted, found_visible & counted
    figures = {}
    for threshold in THRESHOLDS:
        within = squared < threshold**2
        figures[f"delta@{threshold}"] = _share((within & seen).sum(), seen.sum())
        hits, false_alarms = (within & seen & told).sum(), (told & ~(within & seen)).sum()
        # a place found too far off is a miss and a false alarm: it counts twice below the line
        figures[f"jaccard@{threshold}"] = _share(hits, seen.sum() + false_alarms)
    figures["delta_avg"] = float(np.mean([figures[f"delta@{threshold}"] for threshold in THRESHOLDS]))
    figures["aj"] = float(np.mean([figures[f"jaccard@{threshold}"] for threshold in THRESHOLDS]))
    figures["oa"] = _share(((truth_visible == found_visible) & counted).sum(), counted.sum())
    return figures


def pck_figures(
    truth_xy: FloatArray, found_xy: FloatArray, counted: BoolArray, areas: NDArray[np.float64]
) -> dict[str, float]:
    """ "pck@0.1" and "pck@0.2" of one clip, each in 0..1, NaN where nothing is left to judge.

    Args:
        truth_xy, found_xy: float32 [T, N, 2] pixels of the video.
        counted: bool [T, N], the joints that are annotated and visible, in frames after their query.
        areas: float64 [T] pixels, the area of the subject's mask in each frame.
    """
    distance = np.linalg.norm(found_xy.astype(np.float64) - truth_xy, axis=2)
    reach = np.sqrt(areas)[:, None]
    return {
        f"pck@{share}": _share(((distance <= share * reach) & counted).sum(), counted.sum()) for share in PCK_SHARES
    }


def rounded(figures: Mapping[str, float]) -> dict[str, float | None]:
    """JSON values: four digits, since the last ones of a sum depend on the machine; null for what is undefined."""
    return {name: round(float(value), 4) if np.isfinite(value) else None for name, value in figures.items()}


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")
