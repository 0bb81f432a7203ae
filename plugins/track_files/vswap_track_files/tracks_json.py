"""Tracks as JSON, easy to write by hand or by a script.

    {"size": [428, 240], "tracks": {"nose": {"xy": [[301.5, 88.0], null, ...], "visible": [true, false, ...]}}}

One entry a frame; null where nothing is known, which is hidden. "visible" may be left out: then a point is visible
where it has a place. The mapping of points may also be the whole file; a Toybox truth.json is such a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, FloatArray
from vswap_track_files.found_tracks import FoundTracks, unique_names


def read_tracks_json(path: Path) -> FoundTracks:
    """Read such a file.

    Raises:
        InputError: no such file, not JSON, or a point whose fields are missing or don't fit.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _mapping(path, pairs))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of tracks") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({error})") from None
    points = data.get("tracks", data) if isinstance(data, dict) else data
    if not isinstance(points, dict) or not points:
        raise InputError(f'{path}: expected {{"tracks": {{name: {{"xy": [[x, y], ...]}}}}}}')
    read = [_point(path, name, point) for name, point in points.items()]
    lengths = {len(xy) for xy, _, _ in read}
    if len(lengths) > 1:
        raise InputError(f"{path}: points of {min(lengths)} to {max(lengths)} frames; give each the same number")
    xy, told, visible = (np.stack(part, axis=1) for part in zip(*read, strict=True))
    return FoundTracks.with_gaps(path, tuple(points), xy, told, visible, _size(path, data))


def _mapping(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique_names(path, [name for name, _ in pairs])
    return dict(pairs)


def _size(path: Path, data: Mapping[str, Any]) -> tuple[int, int] | None:
    size = data.get("size") if "tracks" in data else None
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise InputError(f"{path}: size: expected [width, height] in pixels, got {size!r}")
    return size[0], size[1]


def _point(path: Path, name: str, point: Any) -> tuple[FloatArray, BoolArray, BoolArray]:
    """A point's places [T, 2], and bool [T]: where it has one, and where it is visible."""
    places = point.get("xy") if isinstance(point, dict) else None
    if not isinstance(places, list) or not places:
        raise InputError(f'{path}: point {name!r}: expected {{"xy": [[x, y], ...], "visible": [...]}}')
    told = np.array([place is not None for place in places])
    try:
        xy = np.array([(0, 0) if place is None else place for place in places], np.float32)
    except (ValueError, TypeError):
        xy = np.zeros(0, np.float32)
    if xy.shape != (len(places), 2) or not np.isfinite(xy).all():
        raise InputError(f"{path}: point {name!r}: xy: expected a pair of numbers, or null, for each frame")
    visible = point.get("visible", told.tolist())
    if not isinstance(visible, list) or len(visible) != len(places) or not all(type(seen) is bool for seen in visible):
        raise InputError(f"{path}: point {name!r}: visible: expected true or false for each of {len(places)} frames")
    return xy, told, np.array(visible)
