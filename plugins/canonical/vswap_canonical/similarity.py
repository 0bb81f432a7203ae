"""`similarity`: a drag carried by the subject's own motion, as its tracked points tell it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vswap_canonical.asked import asked_moves, seen_too_little
from vswap_canonical.register import SimilarityOptions
from vswap_canonical.smoothing import smoothed
from vswap_canonical.turns import as_complex, as_points, fit_turns
from vswap_kernel.api import Context
from vswap_kernel.types import DisplacementField, Masks, PointEdit, PointTracks, Video


class Similarity:
    """Canonical that turns and grows each move with the subject.

    Exact where the subject moves by similarities (shift, rotation, uniform scale, and a mirror image where it turned
    round); where parts of it move on their own, a move goes with the most of it. It needs no training.
    """

    def __init__(self, options: SimilarityOptions, context: Context) -> None:
        self._mirror, self._smooth = options.mirror == "auto", options.smooth

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Nothing is learned, for `propagate` is given the tracks too: a marker is written."""
        (out / "similarity.json").write_text(json.dumps({"canonical": "similarity"}) + "\n")

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """The move on `edit.frame`, turned and grown as the visible points are since then; zero for points not moved.

        Valid where the point is visible; but a moved point isn't where fewer than two points are seen that were seen on
        `edit.frame`: how the subject is turned there is only interpolated (angle, logarithm of the scale) between the
        frames around.

        Raises:
            InputError: `edit` moves a point that isn't tracked or is hidden on its frame, that is beyond the end, or
                fewer than two points are seen there.
        """
        moved, offset = asked_moves(tracks, edit)
        delta, valid = np.zeros(tracks.xy.shape, np.float32), tracks.visible.copy()
        if moved.size:
            turns = fit_turns(as_complex(tracks.xy), tracks.visible, edit.frame, mirror=self._mirror)
            if not turns.known[edit.frame]:
                raise seen_too_little("similarity", tracks, edit.frame)
            carried = as_points(turns.applied(as_complex(offset)))
            delta[:, moved] = smoothed(carried, edit.frame, self._smooth)
            valid[:, moved] &= turns.known[:, None]
        return DisplacementField(tracks.names, delta, valid)
