"""The reference's keyframe annotations, `FRAME.json`: {"headlight": [61, 48], ...}, each point (y, x) in pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.points import PointsFile


def read_annotation(path: Path, frame: int | None = None, size: tuple[int, int] | None = None) -> PointsFile:
    """Points set on `frame` (None: the number that the file is named by) of a picture of `size` (width, height).

    Raises:
        InputError: no such file, not such an annotation, a name twice, or no frame number in the name.
    """
    try:
        pairs = json.loads(path.read_text(), object_pairs_hook=list)
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an annotation, JSON expected ({error})") from None
    if not isinstance(pairs, list) or not pairs or not all(_is_point(pair) for pair in pairs):
        raise InputError(f"{path}: expected an object of name: [y, x] with at least one point")
    names = tuple(name for name, _ in pairs)
    if len(set(names)) < len(names):
        raise InputError(f"{path}: {max(names, key=names.count)!r} stands there more than once")
    if frame is None:
        digits = path.stem.partition("_")[0]
        if not digits.isdecimal():
            raise InputError(f"{path}: its name doesn't tell the keyframe's number; give it with --frame")
        frame = int(digits)
    xy = np.array([[x, y] for _, (y, x) in pairs], np.float32)
    return PointsFile(path, names, xy, frame, size)


def _is_point(pair: Any) -> bool:
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
        return False
    place = pair[1]
    numbers = isinstance(place, list) and len(place) == 2 and all(type(value) in (int, float) for value in place)
    return bool(numbers and np.isfinite(place).all())


def write_annotation(path: Path, points: PointsFile) -> None:
    """Write `points` as the reference reads them: (y, x), rounded to whole pixels (half to even, as it reads them).

    Its frame is told by the file's name alone: call it as the keyframe's picture, `00002.json` for `00002.jpg`.
    """
    places = {name: [round(float(y)), round(float(x))] for name, (x, y) in zip(points.names, points.xy, strict=True)}
    path.write_text(json.dumps(places, indent=1) + "\n")
