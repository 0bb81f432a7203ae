"""Tracks as a file has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class FoundTracks:
    """What a file says of T frames.

    Attributes:
        names: N str; None where the file has none.
        xy: float32 [T, N, 2] pixels (x, y), finite.
        visible: bool [T, N].
        confidence: float32 [T, N] in 0..1.
        size: (width, height) of the video that they belong to; None where the file doesn't tell.
        told: bool [T, N], where the place is the file's own and not filled in; None: everywhere.
    """

    names: tuple[str, ...] | None
    xy: FloatArray
    visible: BoolArray
    confidence: FloatArray
    size: tuple[int, int] | None = None
    told: BoolArray | None = None

    @classmethod
    def with_gaps(
        cls,
        path: Path,
        names: tuple[str, ...],
        xy: FloatArray,
        told: BoolArray,
        visible: BoolArray | None = None,
        size: tuple[int, int] | None = None,
    ) -> FoundTracks:
        """Of a file that tells places only where `told` [T, N]: hidden ones between lie on the line from the last one
        told to the next, and those before the first and after the last stay there.

        Args:
            path: for messages.
            names, xy, size: as of the class; what xy is where nothing is told doesn't matter.
            told: bool [T, N].
            visible: bool [T, N]; None: where told.

        Raises:
            InputError: a point without any place.
        """
        without = np.flatnonzero(~told.any(axis=0))
        if len(without):
            raise InputError(f"{path}: point {names[without[0]]!r} has no place in any frame; leave it out")
        visible = told if visible is None else visible & told
        filled = fill_gaps(xy, told)
        return cls(names, filled, visible, visible.astype(np.float32), size, told)


def fill_gaps(xy: FloatArray, told: BoolArray) -> FloatArray:
    """xy [T, N, 2] with what isn't `told` [T, N] interpolated in time; each point has a place in some frame."""
    frame = np.arange(len(xy))[:, None]
    before = np.maximum.accumulate(np.where(told, frame, -1), axis=0)
    after = np.minimum.accumulate(np.where(told, frame, len(xy))[::-1], axis=0)[::-1]
    before, after = np.where(before < 0, after, before), np.where(after == len(xy), before, after)
    share = ((frame - before) / np.maximum(after - before, 1))[..., None]
    point = np.arange(xy.shape[1])
    filled = (1 - share) * xy[before, point] + share * xy[after, point]
    return np.where(told[..., None], xy, filled).astype(np.float32)


def unique_names(path: Path, names: Sequence[object]) -> tuple[str, ...]:
    """Names as a tuple of str. Raises InputError where one stands there twice."""
    found = tuple(map(str, names))
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise InputError(f"{path}: {', '.join(map(repr, twice))} stands there more than once; give each its own name")
    return found
