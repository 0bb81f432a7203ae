"""Whether what is at the points in the first place stays at the points."""

from __future__ import annotations

import numpy as np

from vswap_kernel.api import Context, Facts, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import BoolArray, FloatArray, Measurement, PointQueries, PointTracks
from vswap_metrics.ratios import share, shares


class PointAlignment:
    """Distance between the points tracked again in the result and the places where they were asked to be.

    Each point is put into the result where it was asked to be, on the frame in which most points are (a point hidden
    there: on the first frame in which it is), and the run's tracker follows it from there.

    It measures whether the new subject *moves* as it was asked to. It doesn't see whether the right part is at a point
    (a beak asked for and a tail drawn, moving along, is no error), nor a constant offset; and it holds the tracker's
    own mistakes, which grow on smooth or blurred subjects. The frame on which a point was put is left out.

    Values:
        point_error_px: mean distance in pixels, over points and frames where a point is both asked for and found.
        point_error_p95_px: the 95th percentile of the same distances.
        point_visible: share of the asked places at which the tracker found the point at all. Read the error with it.

    Curves: point_error_px and point_visible per frame. NaN where nothing is asked for (or found); everything is NaN
    when there are no points.
    """

    def __init__(self, options: NoOptions, context: Context) -> None:
        self._context = context

    def measure(self, case: MetricCase, /) -> Measurement:
        """See the class."""
        asked = asked_places(case.targets)
        kept = np.flatnonzero(asked.any(axis=0))
        targets = case.targets.subset(case.targets.names[i] for i in kept)
        distance = np.full(asked.shape, np.nan, np.float32)
        if len(kept):
            anchors = anchor_frames(asked[:, kept])
            queries = PointQueries(targets.names, anchors, targets.xy[anchors, np.arange(len(kept))])
            found = case.tracker.track(case.result.video, queries)
            asked[anchors, kept] = False
            gaps = np.linalg.norm(found.xy - targets.xy, axis=2)
            distance[:, kept] = np.where(found.visible & asked[:, kept], gaps, np.nan)
        return _summary(distance, asked)


def asked_places(targets: PointTracks) -> BoolArray:
    """Which targets a swap can be held to: visible, and within the frame. bool [T, N]."""
    limit = np.array(targets.size, np.float32) - 0.5
    within = ((targets.xy >= -0.5) & (targets.xy < limit)).all(axis=2)
    asked: BoolArray = targets.visible & within
    return asked


def anchor_frames(asked: BoolArray) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The frame on which each point is put: int32 [N].

    Args:
        asked: bool [T, N], at least once for each point.
    """
    fullest = int(np.argmax(asked.sum(axis=1)))
    return np.where(asked[fullest], fullest, np.argmax(asked, axis=0)).astype(np.int32)


def _summary(distance: FloatArray, asked: BoolArray) -> Measurement:
    """distance float32 [T, N], NaN where not both asked and found; asked bool [T, N]."""
    found = np.isfinite(distance)
    every = distance[found].astype(np.float64)
    nan = float("nan")
    values = {
        "point_error_px": float(every.mean()) if every.size else nan,
        "point_error_p95_px": float(np.percentile(every, 95)) if every.size else nan,
        "point_visible": share(found.sum(), asked.sum()),
    }
    return Measurement(
        values,
        {
            "point_error_px": shares(np.where(found, distance, 0).sum(axis=1), found.sum(axis=1)),
            "point_visible": shares(found.sum(axis=1), asked.sum(axis=1)),
        },
    )


def preflight(options: NoOptions, facts: Facts) -> None:
    """Refuse a tracker that doesn't look at frames: of the result it would say the same as of the source.

    Raises:
        InputError: the config's tracker says so of itself.
    """
    if not facts.described.get("tracker", {}).get("looks_at_frames", True):
        raise InputError(
            "metrics: point-alignment tracks the points again in the result, and this tracker doesn't look at frames; "
            "leave the metric out, or choose another tracker"
        )
