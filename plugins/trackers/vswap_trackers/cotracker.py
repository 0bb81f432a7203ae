"""`cotracker`: CoTracker 3 through its own package, which is not part of vswap and is for non-commercial use.

Karaev et al., "CoTracker3: Simpler and Better Point Tracking by Pseudo-Labelling Real Videos" (2024). Code and weights
are under CC-BY-NC 4.0.

The package isn't on PyPI; what is called here was recorded from its repository (version 3.0). The tests run against a
small package of the same signatures, not against the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_track_files.tensors import load_tensors
from vswap_trackers.contract import finished, require_keyframes
from vswap_trackers.cotracker_package import require_package, tell_licence
from vswap_trackers.options_models import CoTrackerOptions
from vswap_trackers.windows import Windows, track_in_windows

_OFFLINE_WINDOW, _ONLINE_WINDOW = 60, 16
"""Frames with which the published weights were trained."""
_SEEN = 0.5
"""Between the false and true that the package answers."""


class CoTracker:
    """Tracker that runs CoTracker 3.

    Offline, long clips are cut into windows (see `vswap_trackers.windows`), and points are tracked backwards through
    reversed windows: what the package's `backward_tracking` does, for the points that need it. Online, the clip is fed
    chunk by chunk, once forwards, and once reversed for the points with frames before their keyframe. Confidence is 0
    or 1: the package says no more.
    """

    def __init__(self, options: CoTrackerOptions, context: Context) -> None:
        self._options, self._context = options, context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames.

        Raises:
            InputError: a keyframe beyond the end, or weights that can't be used.
            MissingExtraError: the package isn't there.
        """
        require_keyframes(video, queries)
        tell_licence()
        progress = self._context.progress
        predictor = _load(self._options, self._context.device) if queries.names else None
        if self._options.mode == "online":
            return _track_online(predictor, self._context.device, video, queries, progress)
        windows = Windows(self._options.window, self._options.overlap, self._options.revisit, _SEEN)
        return track_in_windows(video, queries, _Offline(predictor, self._context.device), windows, progress)


def _load(options: CoTrackerOptions, device: str) -> Any:
    """The predictor with its weights, which are read without running what the file may hold."""
    require_package(options)
    online = options.mode == "online"
    if options.repository is not None:
        entry = f"cotracker3_{options.mode}"
        predictor = torch.hub.load(str(options.repository), entry, source="local", pretrained=False, verbose=False)
    elif online:
        from cotracker.predictor import CoTrackerOnlinePredictor

        predictor = CoTrackerOnlinePredictor(checkpoint=None, window_len=_ONLINE_WINDOW)
    else:
        from cotracker.predictor import CoTrackerPredictor

        predictor = CoTrackerPredictor(checkpoint=None, offline=True, window_len=_OFFLINE_WINDOW)
    _load_weights(options, predictor.model)
    return predictor.to(device).eval()


def _load_weights(options: CoTrackerOptions, model: Any) -> None:
    weights = load_tensors(options.weights)
    try:
        model.load_state_dict(weights.get("model", weights))
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(
            f"{options.weights}: not the weights of CoTracker 3 {options.mode} ({reason}); see the option mode"
        ) from None


def _tensor(frames: ByteArray, device: str) -> torch.Tensor:
    """Frames uint8 [n, H, W, 3] as float [1, n, 3, H, W] in 0..255."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2)[None].float()


class _Offline:
    """The offline predictor as a `WindowModel`."""

    def __init__(self, predictor: Any, device: str) -> None:
        self._predictor, self._device = predictor, device

    @torch.no_grad()
    def __call__(self, frames: ByteArray, queries: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        asked = torch.from_numpy(queries).to(self._device)[None]
        tracks, visibility = self._predictor(_tensor(frames, self._device), queries=asked)
        return _answer(tracks, visibility, len(frames))


def _answer(tracks: Any, visibility: Any, frames: int) -> tuple[FloatArray, FloatArray]:
    """The places [T, N, 2] and visibility [T, N] of the first `frames` frames."""
    places = tracks[0, :frames].float().cpu().numpy()
    seen = visibility[0, :frames].float().cpu().numpy()
    if not np.isfinite(places).all():
        raise InputError("tracker cotracker: its places are not finite; are these the weights of this mode?")
    return places, seen.reshape(places.shape[:2])


def _track_online(
    predictor: Any, device: str, video: Video, queries: PointQueries, progress: Callable[..., None]
) -> PointTracks:
    frames, count = len(video), len(queries.names)
    xy, seen = np.tile(queries.xy, (frames, 1, 1)), np.zeros((frames, count), np.float32)
    for note, order in (("forwards", range(frames)), ("backwards", range(frames - 1, -1, -1))):
        key = queries.frame if order.step > 0 else frames - 1 - queries.frame
        points = np.flatnonzero(key < frames - 1)
        if not len(points):
            continue
        first = int(key[points].min())
        asked = np.column_stack([key[points] - first, queries.xy[points]]).astype(np.float32)
        steps = np.asarray(order)[first:]
        places, visible = _run_online(predictor, device, video, steps, asked, progress, note)
        row, column = np.nonzero(np.arange(first, frames)[:, None] > key[points])
        xy[steps[row], points[column]] = places[row, column]
        seen[steps[row], points[column]] = visible[row, column]
    return finished(queries, video.size, xy, seen >= _SEEN, seen)


@torch.no_grad()
def _run_online(
    predictor: Any,
    device: str,
    video: Video,
    order: Any,
    queries: FloatArray,
    progress: Callable[..., None],
    note: str,
) -> tuple[FloatArray, FloatArray]:
    """Feed the frames `order` [n] in chunks of two steps, one step apart; the last frame fills up the last chunk."""
    step, count = int(predictor.step), len(order)
    asked = torch.from_numpy(queries).to(device)[None]

    def chunk(start: int) -> torch.Tensor:
        index = np.minimum(np.arange(start, start + 2 * step), count - 1)
        return _tensor(video.frames[order[index]], device)

    predictor(video_chunk=chunk(0), is_first_step=True, queries=asked)
    for start in range(0, max(count - step, 1), step):
        tracks, visibility = predictor(video_chunk=chunk(start))
        video.release()
        progress(min(start + 2 * step, count), count, note)
    return _answer(tracks, visibility, count)
