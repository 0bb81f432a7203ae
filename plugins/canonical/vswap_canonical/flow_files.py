"""Dense flow between neighbouring frames on disk: half precision, one file for every 16 pairs of frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_canonical.flow_pairs import Told
from vswap_kernel.arrays import map_array, read_arrays, stream_array, write_arrays
from vswap_kernel.errors import StoreError
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, Masks, Video
from vswap_optical_flow.dense_flow import DenseFlow

_PAIRS = 16
_SUBJECT = 128  # of 255: from here on a mask's pixel is the subject


@dataclass(frozen=True, eq=False)
class FlowStep:
    """From frame `start` to its neighbour `end`: the flow, and that back again, float32 [h, w, 2] scaled pixels; the
    subject in `start`, bool [h, w], or None without masks."""

    start: int
    end: int
    ahead: FloatArray
    back: FloatArray
    subject: BoolArray | None


def write_flow(video: Video, masks: Masks | None, out: Path, short_side: int, told: Told) -> None:
    """The flow of `video`, both ways between neighbours, its shorter side scaled down to `short_side` pixels, and the
    subject of `masks`, a bit a pixel. One pair of frames is in memory at a time, and the flow of 16."""
    scale = min(1.0, short_side / min(video.size))
    size = (max(1, round(video.size[0] * scale)), max(1, round(video.size[1] * scale)))
    about = {"frames": len(video), "size": size, "scale": [size[0] / video.size[0], size[1] / video.size[1]]}
    (out / "flow.json").write_text(json.dumps(about) + "\n")
    pairs = _pairs(video, size, told)
    for index in range(0, len(video) - 1, _PAIRS):
        both = np.stack([*islice(pairs, _PAIRS)])
        write_arrays(out / f"flow-{index // _PAIRS:05}.safetensors", {"flow": both})
    if masks is not None:
        stream_array(out / "subject.safetensors", "subject", _packed(masks, size))


def _pairs(video: Video, size: tuple[int, int], told: Told) -> Iterator[NDArray[np.float16]]:
    """For each pair of neighbours the flow ahead and back: [2, h, w, 2]."""
    flow, last = DenseFlow(), None
    for t in range(len(video)):
        grey = cv2.resize(cv2.cvtColor(video.frames[t], cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        if last is not None:
            yield np.stack([flow.between(last, grey), flow.between(grey, last)]).astype(np.float16)
            told(t, len(video) - 1)
        last = grey
        if t % _PAIRS == 0:
            video.release()
    video.release()


def _packed(masks: Masks, size: tuple[int, int]) -> Iterator[ByteArray]:
    for _, chunk in masks.chunks():
        scaled = [cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= _SUBJECT for mask in chunk]
        yield np.packbits(np.stack(scaled).reshape(len(chunk), -1), axis=1)


class FlowFiles:
    """What `write_flow` wrote. `scale` (x, y) are scaled pixels per pixel of the video."""

    def __init__(self, folder: Path) -> None:
        """Raises StoreError: the folder holds no flow."""
        self._folder = folder
        try:
            about: dict[str, Any] = json.loads((folder / "flow.json").read_text())
            self.frames, self._size = int(about["frames"]), (int(about["size"][0]), int(about["size"][1]))
            self.scale = np.array(about["scale"], np.float64)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{folder}: not a fitted canonical 'flow' ({error})") from error
        subject = folder / "subject.safetensors"
        self._subject = map_array(subject, "subject")[0] if subject.exists() else None

    def steps(self, start: int, direction: int) -> Iterator[FlowStep]:
        """The steps from frame `start` to the last frame (direction 1), or to the first (-1)."""
        index, both = -1, np.zeros(0, np.float16)
        for t in range(start, self.frames - 1 if direction > 0 else 0, direction):
            pair = min(t, t + direction)
            if pair // _PAIRS != index:
                index = pair // _PAIRS
                both = read_arrays(self._folder / f"flow-{index:05}.safetensors")["flow"]
            ahead, back = both[pair % _PAIRS].astype(np.float32)[::direction]
            yield FlowStep(t, t + direction, ahead, back, self._subject_in(t))

    def _subject_in(self, frame: int) -> BoolArray | None:
        if self._subject is None:
            return None
        width, height = self._size
        return np.unpackbits(self._subject[frame], count=width * height).reshape(height, width).astype(np.bool_)
