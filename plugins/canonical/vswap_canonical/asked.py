"""What an edit asks for on its own frame: the part that every canonical has in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.types import FloatArray, PointEdit, PointTracks


def asked_moves(tracks: PointTracks, edit: PointEdit) -> tuple[NDArray[np.intp], FloatArray]:
    """(which points are moved, int [M]; their new places less their tracked ones on `edit.frame`, float32 [M, 2] px).

    Raises:
        InputError: `edit` moves a point that isn't tracked, or that is hidden on its frame; or that is beyond the end.
    """
    frames = len(tracks)
    if not 0 <= edit.frame < frames:
        raise InputError(f"edit.frame: {edit.frame} is beyond the end, the tracks have {frames} frames")
    for name in edit.move:
        if name not in tracks.names:
            raise InputError(f"edit.move: there is no point {name!r}; {nearest_first(name, tracks.names)}")
        if not tracks.visible[edit.frame, tracks.names.index(name)]:
            seen = _ranges(np.flatnonzero(tracks.visible[:, tracks.names.index(name)]).tolist())
            todo = f"it is seen in {seen}: move it on one of those (edit.frame)" if seen else "it is seen in no frame"
            raise InputError(f"edit.move: point {name!r} is hidden on frame {edit.frame}, where it is moved; {todo}")
    moved = np.array([tracks.names.index(name) for name in edit.move], np.intp)
    places = np.array([*edit.move.values()], np.float32).reshape(-1, 2)
    return moved, places - tracks.xy[edit.frame, moved]


def seen_too_little(canonical: str, tracks: PointTracks, frame: int) -> InputError:
    """What a canonical that rests on the tracked points says of a frame that shows too few of them."""
    seen = int(tracks.visible[frame].sum())
    return InputError(
        f"edit.frame: {seen} visible point(s) on frame {frame}, and canonical {canonical!r} needs two, apart, to see a "
        "subject turn; drag on a frame with more, or use canonical: {name: keyframe}"
    )


def _ranges(frames: list[int]) -> str:
    """Frame numbers in words: "frames 0-2, 5"; empty for none."""
    starts = [frame for frame in frames if frame - 1 not in frames]
    ends = [frame for frame in frames if frame + 1 not in frames]
    runs = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(runs)}" if frames else ""
