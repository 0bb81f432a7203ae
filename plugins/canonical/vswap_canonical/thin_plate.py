"""`thin-plate`: a drag carried by a plate that bends with the tracked points."""

from __future__ import annotations

import json
from pathlib import Path

from vswap_canonical.carried import carry
from vswap_canonical.register import ThinPlateOptions
from vswap_canonical.splines import Splines, fit_splines
from vswap_canonical.turns import Complex
from vswap_kernel.api import Context
from vswap_kernel.types import BoolArray, DisplacementField, Masks, PointEdit, PointTracks, Video


class ThinPlate:
    """Canonical that carries each move by a thin plate that bends with the tracked points.

    Near enough where the subject bends (a tail, a neck) and enough points follow the bend; exact where it moves as for
    `homography`, but for perspective. Every point that moves on its own (a wheel) bends the plate, so the stiffer the
    subject, the greater should `stiffness` be. It needs no training; milliseconds for dozens of points.
    """

    def __init__(self, options: ThinPlateOptions, context: Context) -> None:
        self._options = options

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Nothing is learned, for `propagate` is given the tracks too: a marker is written."""
        (out / "thin-plate.json").write_text(json.dumps({"canonical": "thin-plate"}) + "\n")

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """The move on `edit.frame` carried by the map of each frame; zero for points not moved. See `carry` for what
        happens outside the points, what is valid, and what raises InputError."""
        return carry("thin-plate", tracks, edit, self._maps, self._options.smooth)

    def _maps(self, places: Complex, visible: BoolArray, frame: int) -> Splines:
        return fit_splines(
            places,
            visible,
            frame,
            noise=self._options.noise,
            stiffness=self._options.stiffness,
            mirror=self._options.mirror == "auto",
        )
