"""`point-diffusion`: VideoSwap (Gu et al., CVPR 2024, arXiv 2312.02087). `prepare` inverts the source and registers its
points; `swap` samples the new subject along them, blended into the source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from vswap_kernel.api import Context
from vswap_kernel.protocols import SwapJob
from vswap_kernel.types import ByteArray, Masks, SwapResult, Video
from vswap_swappers.point_diffusion.edit import edited_latents
from vswap_swappers.point_diffusion.inversion import Inversion
from vswap_swappers.point_diffusion.job import DiffusionJob
from vswap_swappers.point_diffusion.options import PointDiffusionOptions
from vswap_swappers.point_diffusion.preparation import INVERSION, prepare_source
from vswap_swappers.point_diffusion.subject_region import changed, composited, softened

_CHUNK = 16


class PointDiffusion:
    """Implements `vswap_kernel.protocols.Swapper`."""

    def __init__(self, options: PointDiffusionOptions, context: Context) -> None:
        self._options, self._context = options, context

    def prepare(self, job: SwapJob, out: Path, /) -> None:
        """Write inversion and registered adapter.

        Raises:
            InputError: a model or the points' embeddings are missing, no point is ever visible, a given adapter was
                registered for others.
            VswapError: the registration diverges.
        """
        prepare_source(DiffusionJob.of(job, self._options, self._context), out)

    def swap(self, job: SwapJob, prepared: Path, /) -> SwapResult:
        """Sample the new subject.

        Raises:
            InputError: a model is missing, or the subject's words aren't words of their prompts.
        """
        work = DiffusionJob.of(job, self._options, self._context)
        inversion = Inversion.in_folder(prepared / INVERSION, self._options.steps, work.device)
        latents, old, new = edited_latents(work, inversion, prepared)
        given = job.masks if self._options.source_mask == "masks" else None
        region = _Region(work, given, old, new)
        frames = self._frames(work, latents, inversion.levels[0], region)
        scratch = self._context.scratch
        result = Video.stream(frames, scratch / "video.safetensors", job.video.fps)
        return SwapResult(result, Masks.stream(region.subject(), scratch / "subject.safetensors"))

    def _frames(self, work: DiffusionJob, latents: Tensor, before: Tensor, region: _Region) -> Iterator[ByteArray]:
        """uint8 [n, H, W, 3] in chunks; `before` are the source's latents [F, 4, h, w]."""
        video, options = work.job.video, self._options
        for start, source in video.chunks(_CHUNK):
            stop = start + len(source)
            frames = work.grid.cropped(work.backbone.decode(latents[start:stop]))
            if options.composite:
                new = region.new(start, stop)
                if options.composite_tolerance:
                    decoded = work.grid.cropped(work.backbone.decode(before[start:stop]))
                    new = np.minimum(new, changed(decoded, frames, options.composite_tolerance))
                frames = composited(source, frames, np.maximum(region.old(start, stop), new))
            yield np.ascontiguousarray(frames)
            self._context.progress(stop, len(video), "decoding")


class _Region:
    """Where the result may differ from the source: the old subject and the new one, with soft edges."""

    def __init__(self, work: DiffusionJob, given: Masks | None, old: Tensor, new: Tensor) -> None:
        """given: the masks component's word on the old subject, if it counts; old and new: cells [F, rows, columns]."""
        self._grid, self._given, self._feather = work.grid, given, work.options.composite_feather
        self._old, self._new = old, new

    def _soft(self, cells: Tensor, start: int, stop: int) -> ByteArray:
        return softened(self._grid.pixels_of(cells[start:stop]), self._feather)

    def old(self, start: int, stop: int) -> ByteArray:
        """Alpha uint8 [n, H, W] of the old subject in frames start to stop, exclusive."""
        return self._soft(self._old, start, stop) if self._given is None else self._given.frames[start:stop]

    def new(self, start: int, stop: int) -> ByteArray:
        """The same of the new one."""
        return self._soft(self._new, start, stop)

    def subject(self) -> Iterator[ByteArray]:
        """The new subject's masks, in chunks; with the old one's place where no masks component tells that."""
        for start in range(0, len(self._new), _CHUNK):
            stop, new = start + _CHUNK, self.new(start, start + _CHUNK)
            yield new if self._given is not None else np.maximum(self.old(start, stop), new)
