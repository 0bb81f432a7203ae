"""`keyframe`: a drag without a canonical space; an ablation of VideoSwap (arXiv 2312.02087)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vswap_canonical.asked import asked_moves
from vswap_kernel.api import Context, NoOptions
from vswap_kernel.types import DisplacementField, Masks, PointEdit, PointTracks, Video


class Keyframe:
    """Canonical that copies each move as it stands.

    It is exact where the subject only shifts; where it turns or changes size, the copied move points the wrong way or
    has the wrong length. Learned canonical spaces are measured against it.
    """

    def __init__(self, options: NoOptions, context: Context) -> None:
        pass

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Nothing is learned: a marker is written, so that the stage has something to keep."""
        (out / "keyframe.json").write_text(json.dumps({"canonical": "keyframe"}) + "\n")

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """New place less tracked place on `edit.frame`, in every frame; zero for points that aren't moved.

        Valid where the point is visible.

        Raises:
            InputError: `edit` moves a point that isn't tracked or is hidden on its frame, or that is beyond the end.
        """
        moved, offset = asked_moves(tracks, edit)
        delta = np.zeros(tracks.xy.shape, np.float32)
        delta[:, moved] = offset
        return DisplacementField(tracks.names, delta, tracks.visible.copy())
