"""`layered-atlas`: a drag carried through a picture of the subject that all frames share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vswap_canonical.asked import asked_moves
from vswap_canonical.atlas.clip import working_clip
from vswap_canonical.atlas.drag import carried, shown
from vswap_canonical.atlas.files import FILE, read_atlas, write_atlas
from vswap_canonical.atlas.fit import AtlasFit, Settings
from vswap_canonical.atlas.sheets import reconstruction_psnr, write_pictures
from vswap_canonical.register import LayeredAtlasOptions
from vswap_canonical.smoothing import smoothed
from vswap_kernel.api import Context
from vswap_kernel.errors import StoreError
from vswap_kernel.types import DisplacementField, FloatArray, Masks, PointEdit, PointTracks, Video

_FLOW = 0.15
"""Of the progress bar."""
_LEAST_REACH = 4.0
"""Pixels."""


class LayeredAtlas:
    """Canonical after the Layered Neural Atlases of VideoSwap (Kasten et al., SIGGRAPH Asia 2021), made to be ready in
    minutes on a processor.

    Every frame is a picture of the subject over one of the background, both bent. The maps are a cubic spline a frame
    instead of a network: exact Jacobians and an exact way back cost nothing, and they start from closed-form fits to
    dense flow. Maps, pictures and opacity are then optimised together, with the paper's losses.
    """

    def __init__(self, options: LayeredAtlasOptions, context: Context) -> None:
        self._options, self._context = options, context

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Write the atlas and its pictures.

        Without masks, the subject is what moves otherwise than the picture and has a tracked point on it; where nothing
        does, the whole frame.

        Raises:
            InputError: the masks are empty in every frame.
        """
        options = self._options
        clip = working_clip(video, masks, tracks, options.short_side, lambda done, total: self._tell(_FLOW * done / total, "flow"))
        settings = Settings(options.registrations, options.iterations, (options.subject_texels, options.background_texels),
                            self._context.seed, self._context.device)  # fmt: skip
        told = lambda share, note: self._tell(_FLOW + (1 - _FLOW) * share, note)  # noqa: E731
        atlas, figures = AtlasFit(clip, settings, self._context.scratch, told).run()
        psnr = reconstruction_psnr(atlas, clip.frames)
        write_atlas(out / FILE, atlas, figures | {"psnr": psnr, "factor": clip.factor.tolist(), "size": list(video.size)})
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
            atlas, about = read_atlas(fitted / FILE)
            if len(atlas.prior) != len(tracks):
                raise StoreError(f"{fitted / FILE}: fitted to {len(atlas.prior)} frames, the tracks have {len(tracks)}; fit it anew")
            factor = np.array(about["factor"], np.float32)
            tracked = torch.from_numpy((tracks.xy[:, moved] + 0.5) * factor - 0.5)
            wanted = torch.from_numpy(offset * factor)
            reach = max(_LEAST_REACH, self._options.reach * float(atlas.subject.windows[edit.frame, 2:].max()))
            found = carried(atlas, edit.frame, tracked[edit.frame], wanted, tracked, torch.from_numpy(tracks.visible[:, moved]), reach)
            carried_over: FloatArray = found.numpy() / factor
            carried_over[edit.frame] = offset
            delta[:, moved] = smoothed(carried_over, edit.frame, self._options.smooth)
            on_it = shown(atlas, tracked).numpy()
            on_it[edit.frame] = True
            valid[:, moved] &= on_it
        return DisplacementField(tracks.names, delta, valid)

    def _tell(self, share: float, note: str) -> None:
        self._context.progress(round(1000 * share), 1000, note)
