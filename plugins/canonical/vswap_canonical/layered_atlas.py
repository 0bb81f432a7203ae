"""`layered-atlas`: a drag carried through a picture of the subject that all frames share."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from vswap_canonical.asked import asked_moves
from vswap_canonical.atlas.clip import working_clip
from vswap_canonical.atlas.drag import carried, shown
from vswap_canonical.atlas.files import FILE, read_atlas, write_atlas
from vswap_canonical.atlas.fit import AtlasFit, Settings
from vswap_canonical.atlas.sheets import reconstruction_psnr, write_pictures
from vswap_canonical.flow_pairs import Between
from vswap_canonical.reference.checkpoint import read_reference_checkpoint
from vswap_canonical.reference.fit import ReferenceAtlas, write_fitted
from vswap_canonical.reference.render import ReferenceGrid
from vswap_canonical.reference.training import ReferenceSchedule
from vswap_canonical.register import LayeredAtlasOptions
from vswap_canonical.smoothing import smoothed
from vswap_kernel.api import Context
from vswap_kernel.errors import ConfigError, StoreError
from vswap_kernel.types import BoolArray, DisplacementField, FloatArray, Masks, PointEdit, PointTracks, Video
from vswap_optical_flow.raft import RaftFlow

_FLOW = 0.15
"""Of the progress bar."""
_LEAST_REACH = 4.0
"""Pixels."""
_ITERATIONS = 1500


class _Atlas(Protocol):
    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None: ...
    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField: ...


class LayeredAtlas:
    """Canonical after the Layered Neural Atlases of VideoSwap (Kasten et al., SIGGRAPH Asia 2021).

    The preset `fast` is `SplineAtlas`; `reference` is `ReferenceAtlas`, the networks and the propagation that
    VideoSwap's recordings follow, trained (which takes hours) or read from the reference's checkpoint (`weights`).

    Raises:
        ConfigError: `weights` without `preset: reference`.
    """

    def __init__(self, options: LayeredAtlasOptions, context: Context) -> None:
        reference = options.preset == "reference"
        if options.weights is not None and not reference:
            raise ConfigError(
                "canonical.weights: a checkpoint of the reference is read under `preset: reference` alone"
            )
        self._weights = options.weights
        self._atlas: _Atlas
        if reference:
            schedule = ReferenceSchedule() if options.iterations is None else ReferenceSchedule(options.iterations)
            self._atlas = ReferenceAtlas(context, schedule)
        else:
            self._atlas = SplineAtlas(options, context)

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Write the fitted atlas, see the presets' classes. Raises what they raise."""
        if self._weights is None:
            self._atlas.fit(video, masks, tracks, out)
        else:
            grid = ReferenceGrid(video.size, len(video))
            write_fitted(out, read_reference_checkpoint(self._weights), grid, {"weights": self._weights.name})

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """The moves of `edit` in every frame, see the presets' classes. Raises what they raise."""
        return self._atlas.propagate(fitted, tracks, edit)


class SplineAtlas:
    """The preset `fast`: an atlas that is ready in minutes on a processor.

    Every frame is a picture of the subject over one of the background, both bent. The maps are a cubic spline a frame
    instead of a network: exact Jacobians and an exact way back cost nothing, and they start from closed-form fits to
    dense flow. Maps, pictures and opacity are then optimised together, with the paper's losses.
    """

    def __init__(self, options: LayeredAtlasOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._iterations = _ITERATIONS if options.iterations is None else options.iterations
        self._between: Between | None = None
        if options.flow == "raft":
            if options.flow_weights is None:
                raise ConfigError("canonical.flow: raft needs flow_weights, a file of torchvision's raft_large")
            self._between = RaftFlow(options.flow_weights, context.device).between

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Write the atlas and its pictures.

        Without masks, the subject is what moves otherwise than the picture and has a tracked point on it; where nothing
        does, the whole frame.

        Raises:
            InputError: the masks are empty in every frame.
        """
        options, context = self._options, self._context
        clip = working_clip(video, masks, tracks, options.short_side, self._flow_told, self._between)
        texels = options.subject_texels, options.background_texels
        settings = Settings(options.registrations, self._iterations, texels, context.seed, context.device)
        atlas, figures = AtlasFit(clip, settings, context.scratch, self._fit_told).run()
        psnr = reconstruction_psnr(atlas, clip.frames)
        write_atlas(out / FILE, atlas, figures | {"psnr": psnr, "factor": clip.factor.tolist()})
        write_pictures(out, atlas, clip.frames, psnr)

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """Each moved point's offset, as the subject's map turns and grows it from `edit.frame` to every frame (see
        `carried`); on that frame as asked; zero for points that aren't moved.

        Valid where the point is visible, and a moved one is on the subject by the atlas' opacity.

        Raises:
            InputError: `edit` moves a point that isn't tracked, or its frame is beyond the end.
            StoreError: the fitted folder is damaged, or of another video.
        """
        moved, offset = asked_moves(tracks, edit)
        delta, valid = np.zeros(tracks.xy.shape, np.float32), tracks.visible.copy()
        if moved.size:
            found, on_it = self._carried(fitted / FILE, tracks.subset(edit.move), edit.frame, offset)
            delta[:, moved] = smoothed(found, edit.frame, self._options.smooth)
            valid[:, moved] &= on_it
        return DisplacementField(tracks.names, delta, valid)

    def _carried(self, path: Path, tracks: PointTracks, frame: int, offset: FloatArray) -> tuple[FloatArray, BoolArray]:
        """(displacements [T, M, 2] in pixels of the video, whether the points are on the subject bool [T, M]), for the
        tracks of the M moved points."""
        atlas, about = read_atlas(path, colours=False)
        if len(atlas.prior) != len(tracks):
            raise StoreError(f"{path}: fitted to {len(atlas.prior)} frames, the tracks have {len(tracks)}; fit it anew")
        factor = np.array(about["factor"], np.float32)
        places = torch.from_numpy(((tracks.xy + 0.5) * factor - 0.5).astype(np.float32))
        reach = max(_LEAST_REACH, self._options.reach * float(atlas.subject.windows[frame, 2:].max()))
        moves = torch.from_numpy(offset * factor)
        found = carried(atlas, frame, places[frame], moves, places, torch.from_numpy(tracks.visible), reach)
        delta, on_it = np.asarray(found.numpy() / factor, np.float32), shown(atlas, places).numpy()
        delta[frame], on_it[frame] = offset, True
        return delta, on_it

    def _flow_told(self, done: int, total: int) -> None:
        self._context.progress(round(1000 * _FLOW * done / total), 1000, "dense flow")

    def _fit_told(self, share: float, note: str) -> None:
        self._context.progress(round(1000 * (_FLOW + (1 - _FLOW) * share)), 1000, note)
