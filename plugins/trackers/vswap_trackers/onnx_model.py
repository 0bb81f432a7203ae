"""`onnx`: any network in an ONNX file that takes frames and queries, and gives places and visibility."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_pretrained.onnx_files import open_session
from vswap_trackers.onnx_session import fixed_axes, input_kind, require
from vswap_trackers.options_models import OnnxOptions
from vswap_trackers.plausibility import plausible
from vswap_trackers.windows import Windows, in_groups, track_in_windows

if TYPE_CHECKING:
    import onnxruntime


class OnnxTracker:
    """Tracker that runs an ONNX file, in windows for long clips (see `vswap_trackers.windows`).

    The options say how the file wants its input and what its output means; by default:

    - `video` float32 [1, T, 3, H, W], RGB in 0..255, and `queries` float32 [1, N, 3], each (frame, x, y) in pixels;
    - `tracks` float32 [1, T, N, 2], (x, y) in pixels, and `visibility` float32 [1, T, N], a probability.

    Axes that the file fixes are kept to: frames are scaled to its H and W, windows have its T frames (the last frame is
    repeated to fill one up), and points come in groups of its N.

    What the network calls visible is judged by `plausible`, which the options can switch off.
    """

    def __init__(self, options: OnnxOptions, context: Context) -> None:
        self._options, self._context = options, context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames; confidence is the likelihood of being visible.

        Raises:
            InputError: a keyframe beyond the end, an unusable file, or answers of another shape than the options say.
            MissingExtraError: onnxruntime isn't installed.
        """
        options = self._options
        if not queries.names:
            return track_in_windows(video, queries, _nothing, _windows(options, None), self._context.progress)
        session = open_session(options.model, self._context.device)
        _require_contract(options, session)
        model = _Model(options, session)
        windows = _windows(options, model.frames)
        tracks = track_in_windows(video, queries, model, windows, self._context.progress)
        return plausible(options, video, queries, tracks)


def preflight(options: OnnxOptions, facts: Facts) -> None:
    """Look for the named inputs and outputs in the file before anything is computed.

    Raises:
        InputError: they aren't there, or a window that the file fixes is too short for overlap and revisit.
        MissingExtraError: onnxruntime isn't installed.
    """
    session = open_session(options.model, optimise=False)
    _require_contract(options, session)
    _windows(options, fixed_axes(session, options.video_input)[1])


def _nothing(frames: ByteArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
    raise AssertionError("no model is asked where there are no points")


def _windows(options: OnnxOptions, fixed: int | None) -> Windows:
    """The windows of the options, no longer than the `fixed` number of frames that the file takes."""
    length = options.window if fixed is None else min(options.window or fixed, fixed)
    if length is not None and options.overlap + options.revisit >= length:
        raise InputError(
            f"{options.model}: takes {fixed} frames a call, too few for overlap {options.overlap} and revisit "
            f"{options.revisit}; make them smaller together"
        )
    return Windows(length, options.overlap, options.revisit, options.threshold)


def _require_contract(options: OnnxOptions, session: onnxruntime.InferenceSession) -> None:
    inputs = {"video_input": (options.video_input, 5), "queries_input": (options.queries_input, 3)}
    require(options.model, "input", session.get_inputs(), inputs)
    others = [x.name for x in session.get_inputs() if x.name not in (options.video_input, options.queries_input)]
    if others:
        raise InputError(f"{options.model}: wants {', '.join(others)} besides video and queries; nothing gives that")
    names = {option: getattr(options, option) for option in ("tracks_output", "visibility_output")}
    made = {value.name: len(value.shape) for value in session.get_outputs()}
    # visibility may have a last axis of one
    axes = {"tracks_output": 4, "visibility_output": 4 if made.get(names["visibility_output"]) == 4 else 3}
    require(options.model, "output", session.get_outputs(), {option: (names[option], axes[option]) for option in names})


class _Model:
    """The file as a `WindowModel`. frames: the number that it takes at once, None where that is open."""

    def __init__(self, options: OnnxOptions, session: onnxruntime.InferenceSession) -> None:
        self._options, self._session = options, session
        axes = fixed_axes(session, options.video_input)
        self.frames = axes[1]
        self._height, self._width = axes[3:5] if options.video_layout == "tchw" else axes[2:4]
        self._group = fixed_axes(session, options.queries_input)[1]
        self._video_kind = input_kind(options.model, session, options.video_input)
        self._query_kind = input_kind(options.model, session, options.queries_input)

    def __call__(self, frames: ByteArray, queries: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        height, width = frames.shape[1:3]
        model_size = self._size(width, height)
        scale = np.array(model_size, np.float32) / np.array([width, height], np.float32)
        if self._options.coordinates == "unit":
            scale, shift = scale / np.array(model_size, np.float32), 0.0
        else:
            shift = 0.5
        feed = self._pictures(frames, model_size)
        asked = np.column_stack([queries[:, :1], (queries[:, 1:] + 0.5) * scale - shift]).astype(np.float32)
        places, likelihood = in_groups(self._group, lambda group: self._run(feed, group), asked)
        places, likelihood = places[: len(frames)], likelihood[: len(frames)]
        return ((places + np.float32(shift)) / scale - 0.5).astype(np.float32), likelihood

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the frames that the model is shown."""
        if self._options.size is not None:
            return self._options.size
        step = self._options.multiple_of
        across, down = (max(1, round(side / step)) * step for side in (width, height))
        return self._width or across, self._height or down

    def _pictures(self, frames: ByteArray, size: tuple[int, int]) -> Any:
        """The video input: [1, T, 3, H, W] or [1, T, H, W, 3]."""
        if frames.shape[2:0:-1] != size:
            how = cv2.INTER_AREA if size[0] < frames.shape[2] else cv2.INTER_LINEAR
            frames = np.stack([np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8) for frame in frames])
        if self.frames is not None:
            frames = np.concatenate([frames, np.repeat(frames[-1:], self.frames - len(frames), axis=0)])
        values: Any = frames.astype(self._video_kind)
        if self._options.value_range != "0..255":
            values = values / self._video_kind(255)
        if self._options.value_range == "-1..1":
            values = values * 2 - 1
        if self._options.video_layout == "tchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values[None], self._video_kind)

    def _run(self, feed: Any, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        """One call for queries [N, 3] in the model's coordinates: places [T, N, 2] and likelihood [T, N]."""
        options = self._options
        if options.query_order == "tyx":
            queries = queries[:, [0, 2, 1]]
        names = [options.tracks_output, options.visibility_output]
        given = {options.video_input: feed, options.queries_input: queries[None].astype(self._query_kind)}
        try:
            tracks, visibility = self._session.run(names, given)
        except Exception as error:  # onnxruntime's errors share no public base class
            reason = str(error).splitlines()[0][:200]
            raise InputError(
                f"{options.model}: can't track frames {list(feed.shape)} with {len(queries)} points ({reason})"
            ) from error
        return self._places(tracks, feed.shape[1], len(queries)), self._likelihood(visibility, feed.shape[1])

    def _places(self, answer: Any, frames: int, points: int) -> FloatArray:
        tracks = np.asarray(answer, np.float32)
        swapped = self._options.tracks_layout == "nt"
        wanted = (1, points, frames, 2) if swapped else (1, frames, points, 2)
        if tracks.shape != wanted:
            raise InputError(
                f"{self._options.model}: output {self._options.tracks_output!r} is {list(tracks.shape)}, expected "
                f"{list(wanted)}; see the option tracks_layout"
            )
        if not np.isfinite(tracks).all():
            raise InputError(f"{self._options.model}: output {self._options.tracks_output!r} is not finite everywhere")
        tracks = tracks[0].transpose(1, 0, 2) if swapped else tracks[0]
        return np.asarray(tracks[..., ::-1] if self._options.track_order == "yx" else tracks)

    def _likelihood(self, answer: Any, frames: int) -> FloatArray:
        """How likely the points are visible, float32 [T, N]."""
        values = np.asarray(answer, np.float32)
        values = values[..., 0] if values.ndim == 4 else values
        values = values[0].T if self._options.tracks_layout == "nt" else values[0]
        if len(values) != frames:
            raise InputError(
                f"{self._options.model}: output {self._options.visibility_output!r} says {len(values)} frames, "
                f"expected {frames}; see the option tracks_layout"
            )
        if self._options.visibility in ("probability", "bool"):
            return np.asarray(values)
        sign = 1.0 if self._options.visibility == "logit" else -1.0
        return np.asarray(1.0 / (1.0 + np.exp(-sign * np.clip(values, -60.0, 60.0))), np.float32)
