"""`homography`: a drag carried in perspective, by the plane of the tracked points."""

from __future__ import annotations

import json
from pathlib import Path

from vswap_canonical.carried import carry
from vswap_canonical.plane_maps import PlaneMaps, fit_plane_maps
from vswap_canonical.register import HomographyOptions
from vswap_canonical.turns import Complex
from vswap_kernel.api import Context
from vswap_kernel.types import BoolArray, DisplacementField, Masks, PointEdit, PointTracks, Video


class Homography:
    """Canonical that carries each move by the plane that the tracked points lie on.

    Exact where the subject is flat, or looks it from afar, and moves as a whole: turned, grown, squeezed and leaning
    (three points and more), in perspective (four and more). Fewer points, or points on a line, leave out what they
    don't tell: two make it `similarity`. It needs no training; milliseconds.
    """

    def __init__(self, options: HomographyOptions, context: Context) -> None:
        self._options = options

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Nothing is learned, for `propagate` is given the tracks too: a marker is written."""
        (out / "homography.json").write_text(json.dumps({"canonical": "homography"}) + "\n")

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """The move on `edit.frame` carried by the map of each frame; zero for points not moved. See `carry` for what
        happens outside the points, what is valid, and what raises InputError."""
        return carry("homography", tracks, edit, self._maps, self._options.smooth)

    def _maps(self, places: Complex, visible: BoolArray, frame: int) -> PlaneMaps:
        return fit_plane_maps(
            places, visible, frame, noise=self._options.noise, perspective=True, mirror=self._options.mirror == "auto"
        )
