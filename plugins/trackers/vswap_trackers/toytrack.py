"""`toytrack`: the network of our own that is shipped in `weights/`, run as any other by `onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.api import Context
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.contract import finished
from vswap_trackers.onnx_model import OnnxTracker
from vswap_trackers.options_models import OnnxOptions, ToyTrackOptions
from vswap_trackers.plausibility import plausible
from vswap_trackers.refinement import refined

WEIGHTS = Path(__file__).parent / "weights" / "toytrack.onnx"
_CELL = 8  # pixels: the network's coarser grid
_PLACES = 6144  # points x frames of a call, about 100 kB of memory each


class ToyTrack:
    """Tracker with a learned network, in windows for long clips. The network sees each point by itself; then places
    that still look as on their keyframes are aligned to them (`refined`), and sightings that part from the others
    without looking like themselves are taken back (`plausible`).

    What it is, how it was trained, and what it can't do stands in weights/README.md. It is trained by
    `python -m vswap_toybox.train_tracker`.
    """

    def __init__(self, options: ToyTrackOptions, context: Context) -> None:
        self._options, self._context = options, context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames; confidence is the likelihood of being visible.

        Raises:
            InputError: a keyframe beyond the end.
            MissingExtraError: onnxruntime isn't installed.
        """
        shared = self._options.model_dump(exclude={"side", "align"}) | {"plausible": False}
        tracker = OnnxTracker(OnnxOptions(model=WEIGHTS, size=self._size(*video.size), **shared), self._context)
        at_once = max(1, _PLACES // min(len(video), self._options.window or len(video)))
        groups = np.array_split(np.arange(len(queries.names)), max(1, -(-len(queries.names) // at_once)))
        parts = [tracker.track(video, _some(queries, group)) for group in groups]
        xy, visible, confidence = (
            np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("xy", "visible", "confidence")
        )
        tracks = PointTracks(queries.names, xy, visible, confidence, video.size)
        if self._options.align:
            tracks = finished(queries, video.size, refined(video, queries, tracks), visible, confidence)
        return plausible(self._options, video, queries, tracks)

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the frames that the network is shown: whole cells."""
        scale = self._options.side / max(width, height)
        across, down = (max(1, round(length * scale / _CELL)) * _CELL for length in (width, height))
        return across, down


def _some(queries: PointQueries, group: NDArray[np.intp]) -> PointQueries:
    names = tuple(queries.names[index] for index in group)
    return PointQueries(names, queries.frame[group], queries.xy[group])
