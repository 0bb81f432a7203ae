"""Contact sheets: the same frames of source, answer and each method's result, one strip above the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.types import ByteArray
from vswap_toybox.contact import stack_rows

_COLUMNS, _GAP, _WIDE = 8, 2, 128


def strip(frames: ByteArray, columns: int = _COLUMNS) -> ByteArray:
    """`columns` frames of uint8 [T, H, W, 3], spread evenly, in a row; small ones at twice their size."""
    picked = spread(len(frames), columns)
    times = 1 if frames.shape[2] > _WIDE else 2
    return in_a_row(np.asarray(frames[picked]).repeat(times, 1).repeat(times, 2))


def spread(count: int, columns: int = _COLUMNS) -> NDArray[np.intp]:
    """Which of `count` frames are shown: at most `columns`, the first and the last among them."""
    return np.linspace(0, count - 1, min(columns, count)).round().astype(np.intp)


def in_a_row(pictures: ByteArray) -> ByteArray:
    """uint8 [n, H, W, 3] side by side, with gaps."""
    return np.concatenate(list(np.pad(pictures, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)))), 1)


def sheet(strips: Mapping[str, ByteArray], names: Sequence[str]) -> ByteArray:
    """The strips of `names` stacked; grey for one that isn't there."""
    blank = np.full_like(next(iter(strips.values())), 90)
    return stack_rows([strips.get(name, blank) for name in names])
