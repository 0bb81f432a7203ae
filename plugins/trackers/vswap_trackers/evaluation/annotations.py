"""Truth files: joints annotated in some frames (BADJA's, as JSON), and what `vswap toybox render` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from vswap_kernel.errors import InputError
from vswap_trackers.evaluation.truth import Truth, rescaled

Place = tuple[FiniteFloat, FiniteFloat]
_File = TypeVar("_File", bound=BaseModel)


class _JointsFile(BaseModel):
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    names: list[str]
    frames: list[Annotated[int, Field(ge=0)]]
    xy: list[list[Place | None]]
    visible: list[list[bool | Literal[0, 1] | None]]


class _RenderedTrack(BaseModel):
    xy: list[Place]
    visible: list[bool]


class _RenderedFile(BaseModel):
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    tracks: dict[str, _RenderedTrack]


def read_joints(path: Path, frames: int, size: tuple[int, int], areas: NDArray[np.float64] | None = None) -> Truth:
    """Joints annotated in some frames of a clip of `frames` frames of `size` (width, height).

    The file is JSON: `width` and `height` of the frames that were annotated, `names`, `frames` (their numbers),
    `xy[frame][joint]` as [x, y] pixels or null, and `visible[frame][joint]`. `areas`: see `Truth`.

    Raises:
        InputError: no such file, not such JSON, or a frame that the clip hasn't got.
    """
    data = _read(path, _JointsFile)
    if not (len(data.xy) == len(data.visible) == len(data.frames)):
        raise InputError(f"{path}: xy and visible: expected a row for each of the {len(data.frames)} frames")
    if {*map(len, data.xy), *map(len, data.visible)} - {len(data.names)}:
        raise InputError(f"{path}: xy and visible: expected {len(data.names)} entries in each row, one for each joint")
    if len(set(data.names)) < len(data.names) or len(set(data.frames)) < len(data.frames):
        raise InputError(f"{path}: names and frames: one stands there more than once")
    if data.frames and max(data.frames) >= frames:
        raise InputError(f"{path}: frame {max(data.frames)} is beyond the end; the clip has {frames} frames")
    xy = np.zeros((frames, len(data.names), 2), np.float32)
    known, visible = np.zeros((2, frames, len(data.names)), bool)
    for t, places, seen in zip(data.frames, data.xy, data.visible, strict=True):
        known[t] = [place is not None for place in places]
        visible[t] = known[t] & [bool(flag) for flag in seen]
        xy[t] = [place or (0.0, 0.0) for place in places]
    return Truth(tuple(data.names), rescaled(xy, (data.width, data.height), size), visible, known, size, areas)


def read_rendered(path: Path, frames: int, size: tuple[int, int]) -> Truth:
    """The tracks of the source's subject in the truth.json of a rendered clip, known in every frame.

    Raises:
        InputError: no such file, not such JSON, or another length than the clip's.
    """
    data = _read(path, _RenderedFile)
    for name, track in data.tracks.items():
        if not (len(track.xy) == len(track.visible) == frames):
            got = f"{len(track.xy)} places and {len(track.visible)} flags"
            raise InputError(f"{path}: tracks.{name}: has {got}; expected {frames}, one for each frame")
    count = len(data.tracks)
    xy = np.array([track.xy for track in data.tracks.values()], np.float32).reshape(count, frames, 2).swapaxes(0, 1)
    visible = np.array([track.visible for track in data.tracks.values()], bool).reshape(count, frames).T
    return Truth(tuple(data.tracks), rescaled(xy, data.size, size), visible, np.ones_like(visible), size)


def _read(path: Path, kind: type[_File]) -> _File:
    try:
        data: Any = json.loads(path.read_text())
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as JSON ({error})") from None
