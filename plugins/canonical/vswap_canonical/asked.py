"""What an edit asks for on its own frame: the part that every canonical has in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.types import FloatArray, PointEdit, PointTracks


def asked_moves(tracks: PointTracks, edit: PointEdit) -> tuple[NDArray[np.intp], FloatArray]:
    """(which points are moved, int [M]; their new places less their tracked ones on `edit.frame`, float32 [M, 2] px).

    Raises:
        InputError: `edit` moves a point that isn't tracked, or its frame is beyond the end.
    """
    frames = len(tracks)
    if not 0 <= edit.frame < frames:
        raise InputError(f"edit.frame: {edit.frame} is beyond the end, the tracks have {frames} frames")
    for name in edit.move:
        if name not in tracks.names:
            raise InputError(f"edit.move: there is no point {name!r}; {nearest_first(name, tracks.names)}")
    moved = np.array([tracks.names.index(name) for name in edit.move], np.intp)
    places = np.array([*edit.move.values()], np.float32).reshape(-1, 2)
    return moved, places - tracks.xy[edit.frame, moved]
