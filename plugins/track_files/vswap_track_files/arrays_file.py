"""Tracks and visibility as bare arrays, as programs around CoTracker write them with torch, NumPy or pickle.

A mapping with the arrays under the names that such programs use, or the pair (tracks, visibility) that CoTracker
returns: tracks [T, N, 2] in pixels, visibility [T, N] or [T, N, 1], both with or without a first axis of one clip.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import InputError
from vswap_track_files.found_tracks import FoundTracks, unique_names

_TRACKS = ("tracks", "pred_tracks", "trajs", "coords")
_VISIBILITY = ("visibility", "pred_visibility", "visibles", "visible", "visibs")
_SEEN = 0.5
"""From this probability on a point counts as visible."""


def holds_tracks(data: Any) -> bool:
    """Whether what was read is such a mapping or pair."""
    if isinstance(data, Mapping):
        return any(name in data for name in _TRACKS)
    return isinstance(data, list | tuple) and len(data) == 2 and all(hasattr(part, "shape") for part in data)


def read_npz(path: Path) -> FoundTracks:
    """Read an `.npz`.

    Raises:
        InputError: not an `.npz`, arrays of objects in it, or arrays that are missing or don't fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return tracks_of(path, {name: file[name] for name in file.files})
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: can't be read as arrays ({' '.join(str(error).split())[:150]})") from None


def tracks_of(path: Path, data: Any) -> FoundTracks:
    """The tracks in what was read of `path`. "names" and "size" (width, height) in a mapping are read too.

    Raises:
        InputError: arrays that are missing or don't fit together.
    """
    if not holds_tracks(data):
        raise InputError(f"{path}: expected arrays tracks [T, N, 2] and visibility [T, N], {_contents(data)}")
    if not isinstance(data, Mapping):
        data = dict(zip(("tracks", "visibility"), data, strict=True))
    xy = _array(path, data, _TRACKS, 3)
    if xy.shape[2] != 2:
        raise InputError(f"{path}: tracks: expected [T, N, 2], got {list(xy.shape)}")
    if not np.isfinite(xy).all():
        raise InputError(f"{path}: tracks: not finite everywhere")
    likelihood = _array(path, data, _VISIBILITY, 2)
    if likelihood.shape != xy.shape[:2]:
        raise InputError(f"{path}: visibility: {list(likelihood.shape)} doesn't fit tracks {list(xy.shape)}")
    names = unique_names(path, list(data["names"])) if "names" in data else None
    if names is not None and len(names) != xy.shape[1]:
        raise InputError(f"{path}: names: {len(names)} for {xy.shape[1]} points")
    size = tuple(int(side) for side in data["size"]) if "size" in data else None
    if size is not None and len(size) != 2:
        raise InputError(f"{path}: size: expected width and height, got {list(size)}")
    return FoundTracks(names, xy, likelihood >= _SEEN, np.clip(likelihood, 0.0, 1.0), size)


def _array(path: Path, data: Mapping[str, Any], names: tuple[str, ...], dimensions: int) -> Any:
    """The first of `names` that is there, float32 of so many dimensions; axes of one clip and of one number go."""
    name = next((name for name in names if name in data), None)
    if name is None:
        raise InputError(f"{path}: expected {names[0]}, {_contents(data)}")
    value = np.asarray(data[name])
    if value.dtype.kind not in "biuf":
        raise InputError(f"{path}: {name}: expected numbers, got {value.dtype}")
    if value.ndim == dimensions + 1 and value.shape[0] == 1:
        value = value[0]
    if value.ndim == dimensions + 1 and value.shape[-1] == 1:
        value = value[..., 0]
    if value.ndim == dimensions + 2 and value.shape[0] == value.shape[-1] == 1:
        value = value[0, ..., 0]
    if value.ndim != dimensions:
        raise InputError(f"{path}: {name}: expected {dimensions} axes, got {list(value.shape)}")
    return value.astype(np.float32)


def _contents(data: Any) -> str:
    if isinstance(data, Mapping):
        return f"the file has {', '.join(map(str, data)) or 'nothing'}"
    return f"the file has a {type(data).__name__}"
