"""TAP-Vid's pickles (Doersch et al., "TAP-Vid: A Benchmark for Tracking Any Point in a Video", NeurIPS 2022).

A file holds {name: clip} (DAVIS) or a list of clips (Kinetics, RGB-Stacking, Kubric); a clip is {"video", "points",
"occluded"}, its video an array, or a list of frames as JPEG files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import InputError, MissingExtraError
from vswap_kernel.types import BoolArray, ByteArray, FloatArray
from vswap_track_files.safe_pickle import read_pickle

_FIELDS = ("video", "points", "occluded")


@dataclass(frozen=True, eq=False)
class TapVidClip:
    """One clip as the file has it.

    Attributes:
        name: its key in the file, or "00000" and so on in a list.
        video: uint8 [T, H, W, 3] RGB, or T frames as the bytes of picture files.
        xy: float32 [T, N, 2] pixels, pixel centres at integers; a hidden point that has no place in the file is at 0.
        visible: bool [T, N].
        size: (width, height) in pixels.
    """

    name: str
    video: ByteArray | Sequence[bytes]
    xy: FloatArray
    visible: BoolArray
    size: tuple[int, int]

    def frames(self, chunk: int = 16) -> Iterator[ByteArray]:
        """The frames, uint8 [n, H, W, 3] RGB, `chunk` at a time. Raises InputError where one can't be decoded."""
        for start in range(0, len(self.video), chunk):
            part = self.video[start : start + chunk]
            if isinstance(part, np.ndarray):
                yield part
            else:
                yield np.stack([self._decoded(index, picture) for index, picture in enumerate(part, start)])

    def _decoded(self, index: int, data: bytes) -> ByteArray:
        picture = _picture(f"clip {self.name!r}", index, data)
        if picture.shape[1::-1] != self.size:
            raise InputError(f"clip {self.name!r}: video: frame {index} has another size than the first")
        return picture


def read_tapvid(path: Path) -> list[TapVidClip]:
    """The clips of a TAP-Vid pickle, in the file's order; frames kept as JPEG are decoded when they are asked for.

    The file's points are shares of width and height, 0..1 from the outer edge of the first pixel to that of the last:
    x of them is pixel x * W - 0.5 with pixel centres at integers.

    Raises:
        InputError: another kind of file, or a field missing or of the wrong shape.
    """
    data = read_pickle(path)
    if isinstance(data, Mapping):
        named = [(str(name), clip) for name, clip in data.items()]
    elif isinstance(data, list | tuple):
        named = [(f"{index:05d}", clip) for index, clip in enumerate(data)]
    else:
        raise InputError(f"{path}: holds {type(data).__name__}; expected TAP-Vid's {{name: clip}} or a list of clips")
    if not named:
        raise InputError(f"{path}: there are no clips in it")
    return [_clip(path, name, clip) for name, clip in named]


def _clip(path: Path, name: str, data: Any) -> TapVidClip:
    where = f"{path}: clip {name!r}"
    if not isinstance(data, Mapping) or not set(_FIELDS) <= data.keys():
        raise InputError(f"{where}: expected the fields {', '.join(_FIELDS)}")
    video, size = _video(where, data["video"])
    points, occluded = np.asarray(data["points"]), np.asarray(data["occluded"])
    if points.ndim != 3 or points.shape[1:] != (len(video), 2) or points.dtype.kind not in "fiu":
        got = f"{points.dtype} {list(points.shape)}"
        raise InputError(f"{where}: points: expected numbers [N, {len(video)}, 2], got {got}")
    if occluded.shape != points.shape[:2] or occluded.dtype.kind not in "biuf":
        got = f"{occluded.dtype} {list(occluded.shape)}"
        raise InputError(f"{where}: occluded: expected {list(points.shape[:2])} as the points, got {got}")
    visible = ~occluded.astype(bool).T
    xy = (points.transpose(1, 0, 2).astype(np.float64) * size - 0.5).astype(np.float32)
    if not np.isfinite(xy[visible]).all():
        raise InputError(f"{where}: points: a visible one is not finite")
    return TapVidClip(name, video, np.where(np.isfinite(xy), xy, np.float32(0.0)), visible, size)


def _video(where: str, video: Any) -> tuple[ByteArray | Sequence[bytes], tuple[int, int]]:
    """The frames, and their (width, height)."""
    if isinstance(video, np.ndarray) and video.dtype == np.uint8 and video.ndim == 4 and video.shape[3] == 3:
        if len(video):
            return video, (video.shape[2], video.shape[1])
    elif isinstance(video, np.ndarray) and video.dtype.kind == "S" and video.ndim == 1:
        video = video.tolist()
    if isinstance(video, list | tuple) and video and all(isinstance(frame, bytes) for frame in video):
        height, width, _ = _picture(where, 0, video[0]).shape
        return video, (width, height)
    raise InputError(f"{where}: video: expected uint8 [T, H, W, 3], or a list of JPEG files as bytes")


def _picture(where: str, index: int, data: bytes) -> ByteArray:
    try:
        import cv2
    except ImportError:
        todo = "pip install 'vswap[opencv]'"
        raise MissingExtraError(f"{where}: frames kept as JPEG need OpenCV, not installed here; run: {todo}") from None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{where}: video: frame {index} can't be decoded")
    return np.ascontiguousarray(picture[..., ::-1])
