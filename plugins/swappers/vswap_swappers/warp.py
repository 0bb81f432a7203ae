"""`warp`: a point-driven swap that needs no weights.

The old subject is taken out by a clean plate, and a picture of the new one is carried by the points and laid over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vswap_kernel.api import Context
from vswap_kernel.arrays import map_array, stream_array
from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.protocols import CutoutConcept, SwapJob
from vswap_kernel.types import ByteArray, Cutout, FrameArtefact, Masks, SwapResult, Video
from vswap_swappers.carry import Motion, estimate_motion
from vswap_swappers.clean_plate import build_clean_plate
from vswap_swappers.composite import Composer
from vswap_swappers.cutout_pyramid import CutoutPyramid, opaque_extent
from vswap_swappers.occlusion import OccluderFinder
from vswap_swappers.register import WarpOptions
from vswap_swappers.scene_light import SceneLight, exposure_gain, match_lightness, measure_light
from vswap_swappers.silhouette import Silhouette
from vswap_swappers.source_shape import fits_better_mirrored

_CHUNK = 16


def _masks_of(job: SwapJob) -> Masks:
    if job.masks is None:
        raise InputError(
            "swapper 'warp' needs masks of the old subject and the config names no masks component: "
            'add "masks: {name: files, path: FOLDER}" or "masks: {name: u2net, model: FILE.onnx}"'
        )
    return job.masks


def _cutout_of(job: SwapJob) -> Cutout:
    if not isinstance(job.concept, CutoutConcept):
        raise InputError("swapper 'warp' needs a concept that is a picture: add \"concept: {name: photo, ...}\"")
    cutout = job.concept.cutout()
    if not cutout.rgba[..., 3].any():
        raise InputError("concept: its picture is transparent everywhere, so there is nothing to lay over the video")
    if not set(cutout.names) & set(job.targets.names):
        known = nearest_first(cutout.names[0] if cutout.names else "", job.targets.names)
        raise InputError(
            f"concept: none of its points ({', '.join(cutout.names) or 'none'}) is a point of the video; {known}"
        )
    return cutout


def mirrored(cutout: Cutout) -> Cutout:
    """The cut-out seen in a mirror, left and right exchanged."""
    xy = cutout.xy.copy()
    xy[:, 0] = cutout.rgba.shape[1] - 1 - xy[:, 0]
    return Cutout(np.ascontiguousarray(cutout.rgba[:, ::-1]), cutout.names, xy)


class Warp:
    """Implements `vswap_kernel.protocols.Swapper`."""

    def __init__(self, options: WarpOptions, context: Context) -> None:
        self._options, self._context = options, context

    def prepare(self, job: SwapJob, out: Path, /) -> None:
        """Write the clean plate of the source, `plate.safetensors`.

        Raises:
            InputError: no masks, or masks that leave no background.
        """
        build_clean_plate(job.video, _masks_of(job), out, self._options, self._context.progress)

    def swap(self, job: SwapJob, prepared: Path, /) -> SwapResult:
        """Carry the concept's cut-out over the clean plate.

        Raises:
            InputError: no masks, no cut-out, or no point name in common.
        """
        masks, cutout = _masks_of(job), _cutout_of(job)
        light = measure_light(job.video, masks)
        cutout, motion = self._carried(job, cutout, light)
        rgba = match_lightness(cutout.rgba, light, self._options.colour_match)
        pyramid = CutoutPyramid(rgba, float(motion.scale().max()), self._options.feather)
        finder = OccluderFinder(job.video, masks, motion, job.tracks) if self._options.occlusion else None
        plate, mapped = map_array(prepared / "plate.safetensors", "frames")
        composer = Composer(pyramid, motion, exposure_gain(light, self._options.colour_match), finder)
        clean = Video(plate, job.video.fps, _map=mapped)
        return self._written(job.video, self._frames(job.video, masks, clean, composer))

    def _carried(self, job: SwapJob, cutout: Cutout, light: SceneLight) -> tuple[Cutout, Motion]:
        """The cut-out, mirrored if it fits better so, and its motion."""
        names = [name for name in job.targets.names if name in cutout.names]
        index = [cutout.names.index(name) for name in names]
        tracks, targets = job.tracks.subset(names), job.targets.subset(names)
        turned = mirrored(cutout)
        choice = self._options.mirror
        if choice == "always" or (
            choice == "auto" and fits_better_mirrored(_points(cutout, index), _points(turned, index), tracks)
        ):
            cutout = turned
        opaque = float((cutout.rgba[..., 3] / 255.0).sum())
        silhouette = Silhouette.of(light.area, light.centre, opaque, self._options.smoothing)
        extent = opaque_extent(cutout.rgba)
        return cutout, estimate_motion(_points(cutout, index), extent, tracks, targets, silhouette, self._options)

    def _frames(self, video: Video, masks: Masks, plate: Video, composer: Composer) -> Iterator[ByteArray]:
        """Result and the new subject's alpha together, uint8 [n, H, W, 4]."""
        parts = (video.chunks(_CHUNK), masks.chunks(_CHUNK), plate.chunks(_CHUNK))
        for (start, frames), (_, inside), (_, clean) in zip(*parts, strict=True):
            both = [composer.compose(start + i, frames[i], inside[i], clean[i]) for i in range(len(frames))]
            yield np.stack(both)
            self._context.progress(start + len(frames), len(video), "compositing")

    def _written(self, video: Video, frames: Iterator[ByteArray]) -> SwapResult:
        folder = self._context.scratch
        together = folder / "together.safetensors"
        stream_array(together, "frames", frames)
        joined, mapped = map_array(together, "frames")
        both = FrameArtefact(joined, _map=mapped)
        colour = (chunk[..., :3] for _, chunk in both.chunks(_CHUNK))
        result = Video.stream(colour, folder / "video.safetensors", video.fps)
        alpha = (chunk[..., 3] for _, chunk in both.chunks(_CHUNK))
        subject = Masks.stream(alpha, folder / "subject.safetensors")
        together.unlink()
        return SwapResult(result, subject)


def _points(cutout: Cutout, index: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return cutout.xy[index].astype(np.float64)
