"""Points files: named points that a user set on one keyframe.

    {"frame": 0, "size": [428, 240], "points": {"beak": [301.5, 88.0], "tail": [96.0, 131.0]}}

`frame` counts from 0 within the edited range. `size` (width, height) is that of the picture on which the points were
set; where it differs from the video's, the points are scaled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.types import FloatArray, PointQueries

_FIELDS = ("frame", "size", "points")


@dataclass(frozen=True, eq=False)
class PointsFile:
    """What a points file says. xy float32 [N, 2]; size (width, height) or None when the file doesn't tell."""

    path: Path
    names: tuple[str, ...]
    xy: FloatArray
    frame: int = 0
    size: tuple[int, int] | None = None

    def scaled(self, size: tuple[int, int]) -> FloatArray:
        """xy for a picture of `size`, pixel centres at integers."""
        if self.size is None or self.size == size:
            return self.xy
        factor = np.array(size, np.float32) / np.array(self.size, np.float32)
        return ((self.xy + 0.5) * factor - 0.5).astype(np.float32)


def _no_duplicates(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: {', '.join(map(repr, twice))} stands there more than once; give each its own name")
    return dict(pairs)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e6 for x in value)


def read_points(path: Path) -> PointsFile:
    """Read a points file.

    Raises:
        InputError: no such file, not JSON, a field missing or of the wrong type, a name twice.
    """
    try:
        data = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=lambda pairs: _no_duplicates(path, pairs))
    except FileNotFoundError:
        raise InputError(f"{path}: no such points file; `vswap points write` makes one") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a points file, JSON expected ({error})") from None
    unknown = [key for key in data if key not in _FIELDS] if isinstance(data, dict) else []
    if unknown:
        raise InputError(f"{path}: unknown field {unknown[0]!r}; {nearest_first(unknown[0], _FIELDS)}")
    points = data.get("points") if isinstance(data, dict) else None
    if not isinstance(points, dict) or not points:
        raise InputError(f'{path}: field "points": expected an object of name: [x, y] with at least one point')
    wrong = [name for name, xy in points.items() if not _is_pair(xy)]
    if wrong:
        raise InputError(f"{path}: point {wrong[0]!r}: expected [x, y] in pixels, got {points[wrong[0]]!r}")
    frame, size = data.get("frame", 0), data.get("size")
    if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0:
        raise InputError(f'{path}: field "frame": expected the keyframe\'s number, counted from 0, got {frame!r}')
    if size is not None and not (_is_pair(size) and all(isinstance(x, int) and x > 0 for x in size)):
        raise InputError(f'{path}: field "size": expected [width, height], got {size!r}')
    return PointsFile(path, tuple(points), np.array(list(points.values()), np.float32), frame, size and tuple(size))


def write_points(file: PointsFile) -> None:
    """Write a points file that `read_points` reads.

    Raises:
        InputError: there is a file of that name that isn't a points file.
    """
    if file.path.exists():
        try:
            read_points(file.path)
        except InputError:
            raise InputError(f"{file.path}: is there already, and isn't a points file; choose another name") from None
    data: dict[str, Any] = {"frame": file.frame}
    if file.size is not None:
        data["size"] = list(file.size)
    places = zip(file.names, file.xy.tolist(), strict=True)
    data["points"] = {name: [round(value, 2) for value in place] for name, place in places}
    file.path.write_text(json.dumps(data, indent=2) + "\n")


def check_points(file: PointsFile, size: tuple[int, int], frames: int) -> PointQueries:
    """The queries that the points make on a video of `size` (width, height) with that many frames.

    Raises:
        InputError: the keyframe isn't there, or a point is outside the frame; says so when (x, y) look swapped.
    """
    if not 0 <= file.frame < frames:
        wrong = "negative" if file.frame < 0 else "beyond the end"
        reason = f"{file.frame} is {wrong}, the video has {frames} frames, 0 to {frames - 1}"
        raise InputError(f'{file.path}: field "frame": {reason}')
    xy = file.scaled(size)
    limit = np.array(size, np.float32) - 0.5
    outside = ~((xy >= -0.5) & (xy <= limit)).all(1)
    if outside.any():
        swapped_fits = not ((xy[:, ::-1] < -0.5) | (xy[:, ::-1] > limit)).any()
        hint = "the points look like (y, x): write [x, y]" if swapped_fits else "move it inside, or leave it out"
        first = int(np.argmax(outside))
        place = f"({xy[first, 0]:.1f}, {xy[first, 1]:.1f})"
        raise InputError(
            f"{file.path}: point {file.names[first]!r} at {place} is outside the {size[0]}x{size[1]} frame; {hint}"
        )
    return PointQueries(file.names, np.full(len(xy), file.frame, np.int32), xy)
