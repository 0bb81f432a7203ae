"""`tapir`: Causal BootsTAPIR as the two ONNX files that ibaiGorordo/Tapir-Pytorch-Inference exports.

Doersch et al., "TAPIR: Tracking Any Point with per-frame Initialization and temporal Refinement" (ICCV 2023), and
"BootsTAP: Bootstrapped Training for Tracking-Any-Point" (ACCV 2024). Model and weights are under Apache-2.0.

Written from the description of the files and tested with small networks of the same inputs and outputs; the real ones
couldn't be had where this was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_pretrained.onnx_files import open_session
from vswap_trackers.contract import finished, require_keyframes
from vswap_trackers.onnx_session import fixed_axes, require
from vswap_trackers.options_models import TapirOptions

if TYPE_CHECKING:
    import onnxruntime

_RELEASE_EVERY = 16
"""Frames; the pages of a mapped video are given back that often."""
_MODEL_INPUTS = {"input_frame": 4, "query_feats": 3, "hires_query_feats": 3, "causal_state": 5}
_MODEL_OUTPUTS = ("tracks", "visibles", "new_causal_state", "feature_grid", "hires_feats_grid")
_ENCODER_INPUTS = {"query_points": 3, "feature_grid": 4, "hires_feats_grid": 4}
_ENCODER_OUTPUTS = {"query_feats": 3, "hires_query_feats": 3}
_RESOLUTION = "input_resolution"
"""An input of the encoder in files of some versions of the exporter: (R, R)."""


class Tapir:
    """Tracker that reads one frame a call and carries a state on, forwards from each keyframe and backwards.

    Points join at their keyframe: its feature grids come from one more call, and describe the point from then on. A
    file with a fixed number of points is run as often a frame as it takes to have all of them. Confidence is 0 or 1:
    the file says no more.
    """

    def __init__(self, options: TapirOptions, context: Context) -> None:
        self._options, self._context = options, context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames. Memory doesn't grow with the number of frames.

        Raises:
            InputError: a keyframe beyond the end of the video, or files that can't be used.
            MissingExtraError: onnxruntime isn't installed.
        """
        require_keyframes(video, queries)
        frames, count = len(video), len(queries.names)
        xy, visible = np.tile(queries.xy, (frames, 1, 1)), np.zeros((frames, count), bool)
        if count and frames > 1:
            files = _open(self._options, self._context.device)
            for note, order in (("forwards", range(frames)), ("backwards", range(frames - 1, -1, -1))):
                self._walk(video, queries, files, order, xy, visible, note)
        return finished(queries, video.size, xy, visible, visible.astype(np.float32))

    def _walk(
        self,
        video: Video,
        queries: PointQueries,
        files: _Files,
        order: range,
        xy: FloatArray,
        visible: BoolArray,
        note: str,
    ) -> None:
        """Fill in xy [T, N, 2] and visible [T, N] of the frames that come after the keyframes in this order."""
        key = queries.frame if order.step > 0 else len(order) - 1 - queries.frame
        points = np.flatnonzero(key < len(order) - 1)
        size = files.points or max(len(points), 1)
        groups = [_Group(files, points[first : first + size], size) for first in range(0, len(points), size)]
        for step in range(int(key[points].min()) if len(points) else len(order), len(order)):
            t = order[step]
            picture = files.picture(video.frames[t])
            for group in groups:
                new = key[group.points] == step
                if new.any():
                    group.join(picture, new, files.to_model(queries.xy[group.points], video.size))
                places, seen = group.advance(picture)
                past = key[group.points] < step
                xy[t, group.points[past]] = files.to_video(places, video.size)[past]
                visible[t, group.points[past]] = seen[past]
            self._context.progress(step + 1, len(order), note)
            if step % _RELEASE_EVERY == 0:
                video.release()
        video.release()


def preflight(options: TapirOptions, facts: Facts) -> None:
    """Look for the inputs and outputs in both files before anything is computed.

    Raises:
        InputError: they aren't there, or the files don't belong together.
        MissingExtraError: onnxruntime isn't installed.
    """
    _open(options, "cpu", optimise=False)


def _open(options: TapirOptions, device: str, *, optimise: bool = True) -> _Files:
    model = open_session(options.model, device, optimise=optimise)
    encoder = open_session(options.encoder, device, optimise=optimise)
    _require(options, model, encoder)
    side = fixed_axes(model, "input_frame")[2]
    state = fixed_axes(model, "causal_state")
    points = state[2]
    widths = [fixed_axes(model, name)[2] for name in ("query_feats", "hires_query_feats")]
    # the number of points alone may be open
    known = [side, *widths, *(length for axis, length in enumerate(state) if axis != 2)]
    if None in known:
        raise InputError(f"{options.model}: leaves open more than the number of points; export it at one resolution")
    if fixed_axes(encoder, "query_points")[1] != points:
        raise InputError(
            f"{options.encoder}: takes another number of points than {options.model}; export both together"
        )
    return _Files(model, encoder, int(side or 0), points, tuple(int(width or 0) for width in widths), tuple(state))


def _require(options: TapirOptions, model: onnxruntime.InferenceSession, encoder: onnxruntime.InferenceSession) -> None:
    """Refuse files without the inputs and outputs of the two networks."""
    require(options.model, "input", model.get_inputs(), {name: (name, axes) for name, axes in _MODEL_INPUTS.items()})
    made = {value.name: len(value.shape) for value in model.get_outputs()}
    require(options.model, "output", model.get_outputs(), {name: (name, made.get(name, 0)) for name in _MODEL_OUTPUTS})
    inputs = {name: (name, axes) for name, axes in _ENCODER_INPUTS.items()}
    require(options.encoder, "input", encoder.get_inputs(), inputs)
    outputs = {name: (name, axes) for name, axes in _ENCODER_OUTPUTS.items()}
    require(options.encoder, "output", encoder.get_outputs(), outputs)
    for path, session, known in (
        (options.model, model, _MODEL_INPUTS),
        (options.encoder, encoder, {**_ENCODER_INPUTS, _RESOLUTION: 1}),
    ):
        others = [value.name for value in session.get_inputs() if value.name not in known]
        if others:
            raise InputError(f"{path}: wants {', '.join(others)} too; export it for one frame a call, causal")


@dataclass(frozen=True)
class _Files:
    """Both networks. side: of the square frames that they see; points: how many they take, None where that is open;
    widths: of a point's two descriptions; state: shape of the state."""

    model: onnxruntime.InferenceSession
    encoder: onnxruntime.InferenceSession
    side: int
    points: int | None
    widths: tuple[int, ...]
    state: tuple[int | None, ...]

    @property
    def resolution(self) -> dict[str, Any]:
        """The encoder's input of that name, where it has one."""
        kinds = {value.name: value.type for value in self.encoder.get_inputs()}
        if _RESOLUTION not in kinds:
            return {}
        kind = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}.get(kinds[_RESOLUTION], np.float32)
        return {_RESOLUTION: np.full(2, self.side, kind)}

    def picture(self, frame: ByteArray) -> FloatArray:
        """The frame as the network sees it: float32 [1, 3, R, R] in -1..1."""
        how = cv2.INTER_AREA if frame.shape[1] > self.side else cv2.INTER_LINEAR
        square = np.asarray(cv2.resize(frame, (self.side, self.side), interpolation=how), np.float32)
        return np.ascontiguousarray(square.transpose(2, 0, 1)[None] / 127.5 - 1.0, np.float32)

    def to_model(self, xy: FloatArray, size: tuple[int, int]) -> FloatArray:
        """Pixels (x, y) [N, 2] of a video of `size` as the encoder takes them: (y, x), 0 and R the frame's edges."""
        return np.asarray(((xy + 0.5) * self.side / np.array(size))[:, ::-1], np.float32)

    def to_video(self, places: FloatArray, size: tuple[int, int]) -> FloatArray:
        """The network's (x, y) [N, 2], 0 and R the frame's edges, in pixels of a video of `size`."""
        return np.asarray(places * np.array(size) / self.side - 0.5, np.float32)


class _Group:
    """At most as many points as the files take at once, padded to `size`. points: their numbers in the queries."""

    def __init__(self, files: _Files, points: Any, size: int) -> None:
        self.points = points
        self._files, self._size = files, size
        fine, hires = files.widths
        self._described = {
            "query_feats": np.zeros((1, size, fine), np.float32),
            "hires_query_feats": np.zeros((1, size, hires), np.float32),
        }
        shape = [size if axis == 2 else length or 1 for axis, length in enumerate(files.state)]
        self._state = np.zeros(shape, np.float32)
        self._joined = np.zeros(size, bool)

    def join(self, picture: FloatArray, new: BoolArray, places: FloatArray) -> None:
        """Describe the points `new` [n] by the picture of their keyframe, where they are at places [n, 2] (y, x)."""
        asked = np.zeros((1, self._size, 2), np.float32)
        asked[0, : len(places)] = places
        grids = dict(zip(("feature_grid", "hires_feats_grid"), self._run(picture)[3:], strict=True))
        names = list(self._described)
        answers = self._files.encoder.run(names, {"query_points": asked, **grids, **self._files.resolution})
        index = np.flatnonzero(new)
        for name, answer in zip(names, answers, strict=True):
            self._described[name][:, index] = answer[:, index]
        self._joined[index] = True

    def advance(self, picture: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Places [n, 2] (x, y) and visibility bool [n] of the group's points in the next frame."""
        tracks, visibles, state, _, _ = self._run(picture)
        state[:, :, ~self._joined] = 0.0
        self._state = state
        count = len(self.points)
        places = np.asarray(tracks, np.float32).reshape(self._size, 2)
        seen = np.asarray(visibles).reshape(self._size).astype(bool)
        if not np.isfinite(places[:count]).all():
            raise InputError("tapir: the network's places are not finite; export it again")
        return places[:count], seen[:count]

    def _run(self, picture: FloatArray) -> list[Any]:
        given = {"input_frame": picture, "causal_state": self._state, **self._described}
        return list(self._files.model.run(list(_MODEL_OUTPUTS), given))
