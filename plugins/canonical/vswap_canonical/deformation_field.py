"""`deformation-field`: a drag carried through one canonical frame, to which every frame is deformed invertibly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vswap_canonical.asked import asked_moves
from vswap_canonical.deformation.affine_start import affine_start
from vswap_canonical.deformation.drag import carried_drags
from vswap_canonical.deformation.fit import DeformationFit, FitSettings
from vswap_canonical.deformation.layers import Deformation
from vswap_canonical.deformation.pairs import flow_correspondences, joined, track_correspondences
from vswap_canonical.deformation.picture import paint, picture_psnr
from vswap_canonical.deformation.regions import Regions
from vswap_canonical.register import DeformationFieldOptions
from vswap_kernel.api import Context
from vswap_kernel.errors import StoreError
from vswap_kernel.pictures import encode_png
from vswap_kernel.types import BoolArray, DisplacementField, FloatArray, Masks, PointEdit, PointTracks, Video

_FIELD, _ABOUT, _PICTURE = "deformation.safetensors", "deformation.json", "canonical.png"
_CAPTION = "The canonical frame: the subject of all frames, deformed to where it is in frame {reference}."
_TRACKS_SHARE = 1.0  # what the tracked points of two frames weigh in their first map, against the flow between them
_PLACES = 256  # of the subject, kept as what the field was trained on
_CHECKPOINT = "deformation-field.safetensors"
_MOST_FRAMES_FLOW = 0.4  # share of the progress bar


class DeformationField:
    """Canonical that learns an invertible deformation from every frame to one canonical frame, on a CPU.

    Affine maps are fitted first, robustly and in closed form, to dense flow and tracks (`affine_start`); smooth
    coupling layers then learn what those miss (`deformation.layers`), if held-out correspondences gain by it.
    With masks only the subject's pixels count. Without masks it is those around the tracked points that move as most
    of them and the points do.
    """

    def __init__(self, options: DeformationFieldOptions, context: Context) -> None:
        self._options, self._context = options, context

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Write the field (`deformation.safetensors`), figures about it (`deformation.json`: held-out error in px, PSNR
        of the subject given back from the picture), and the canonical picture.

        A video of one frame has nothing to learn from and is its own canonical frame.

        Raises:
            InputError: the masks are empty in every frame.
        """
        regions = Regions(masks, tracks)
        reference = reference_frame(regions, tracks)
        inside = np.argwhere(regions.at(reference))[:, ::-1]
        centre = (inside.min(0) + inside.max(0)) / 2
        unit = max(1.0, float(np.ptp(inside, axis=0).max()) / 2)
        flow = flow_correspondences(video, regions, self._context.seed, self._flow_told)
        tracked = track_correspondences(tracks, reference)
        together = joined(flow, tracked, tracks, _TRACKS_SHARE)
        maps, believed = affine_start(together, len(video), reference, (centre[0], centre[1]), unit)
        if masks is None:
            flow = flow.believed(believed[: len(flow), : flow.weight.shape[1]])
        options = self._options
        deformation = Deformation(torch.from_numpy(maps), reference, options.layers, options.knots)
        settings = FitSettings(options.steps, options.rigidity, options.steadiness, self._context.seed)
        training = DeformationFit(deformation, flow, tracked, settings)
        about = {"reference": reference, "unit": unit, **training.figures("start")}
        if len(flow) or len(tracked):
            course = training.run(self._context.scratch / _CHECKPOINT, self._training_told)
            about |= {"steps": course.step, **training.figures("held_out")}
        places = _places_on(inside, deformation, reference, self._context.seed)
        trained = np.isin(np.arange(len(video)), [reference, *flow.source, *flow.target, *tracked.source])
        picture = paint(video, regions, deformation, reference, places, unit)
        about["psnr"] = picture_psnr(video, regions, deformation, picture)
        (out / _PICTURE).write_bytes(encode_png(picture.rgba()))
        caption = _CAPTION.format(reference=reference)
        (out / "pictures.json").write_text(json.dumps({_PICTURE: caption}) + "\n")
        finite = {name: value if np.isfinite(value) else None for name, value in about.items()}
        (out / _ABOUT).write_text(json.dumps(finite, sort_keys=True) + "\n")
        learned = {name: value.contiguous() for name, value in deformation.state_dict().items()}
        kept = {"places": torch.from_numpy(places), "trained": torch.from_numpy(trained)}
        save_file(learned | kept, out / _FIELD)

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """Each moved point's offset as the field carries it (see `carried_drags`); on `edit.frame` as asked; zero for
        points not moved.

        Valid where the point is visible; a moved one isn't in frames from which nothing was learned, where the field is
        only interpolated.

        Raises:
            InputError: `edit` moves a point that isn't tracked, or its frame is beyond the end.
            StoreError: the fitted folder is damaged, or of another video.
        """
        moved, offset = asked_moves(tracks, edit)
        delta, valid = np.zeros(tracks.xy.shape, np.float32), tracks.visible.copy()
        if moved.size:
            deformation, places, trained = _read(fitted / _FIELD, len(tracks))
            start = torch.from_numpy(tracks.xy[edit.frame, moved])
            with torch.no_grad():
                drag = (edit.frame, start, torch.from_numpy(offset), self._options.reach)
                delta[:, moved] = carried_drags(deformation, places, *drag)
            delta[edit.frame, moved] = offset
            trained[edit.frame] = True
            valid[:, moved] &= trained[:, None]
        return DisplacementField(tracks.names, delta, valid)

    def _flow_told(self, done: int, total: int) -> None:
        self._context.progress(int(100 * _MOST_FRAMES_FLOW * done / total), 100, "dense flow")

    def _training_told(self, done: int, total: int, note: str) -> None:
        rest = 1 - _MOST_FRAMES_FLOW
        self._context.progress(int(100 * (_MOST_FRAMES_FLOW + rest * done / total)), 100, note)


def reference_frame(regions: Regions, tracks: PointTracks) -> int:
    """The middlemost of the frames that show the most points and at least half as much of the subject as any such."""
    seen = tracks.visible.sum(1)
    area = np.array([regions.at(frame).sum() for frame in range(len(tracks))])
    area = np.where(seen == seen[area > 0].max(initial=0), area, 0)
    middle = np.abs(np.arange(len(tracks)) - (len(tracks) - 1) / 2)
    return int(np.where(2 * area >= area.max(), middle, np.inf).argmin())


def _places_on(inside: NDArray[np.intp], deformation: Deformation, reference: int, seed: int) -> FloatArray:
    """Canonical places [S, 2] drawn from the subject's pixels (x, y) [P, 2] on the reference frame."""
    chosen = np.random.default_rng([seed, 2]).permutation(inside)[:_PLACES].astype(np.float32)
    with torch.no_grad():
        return deformation.to_canonical(torch.from_numpy(chosen)[None], torch.tensor([reference]))[0].numpy()


def _read(path: Path, frames: int) -> tuple[Deformation, Tensor, BoolArray]:
    try:
        stored = load_file(path)
        places, trained = stored.pop("places"), stored.pop("trained").numpy()
        layers, length, knots, _ = stored["tables"].shape
        deformation = Deformation(stored["maps"], 0, layers, knots)
        deformation.load_state_dict(stored)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: not a fitted deformation ({error}); fit it anew") from None
    if length != frames:
        raise StoreError(f"{path}: fitted to {length} frames, but the tracks have {frames}; fit it to this video")
    return deformation, places, trained
