"""One job of `point-diffusion`: the models and inputs that both of its stages work with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeVar, cast

import torch
from torch import Tensor

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone, Concept, MotionModule, SwapJob
from vswap_kernel.types import BoolArray, PointEmbeddings, PointTracks
from vswap_swappers.point_diffusion.ddim import Ladder
from vswap_swappers.point_diffusion.latent_grid import LatentGrid
from vswap_swappers.point_diffusion.options import PointDiffusionOptions
from vswap_swappers.point_diffusion.splat import Splat, splats
from vswap_swappers.point_diffusion.word_attention import layers_at_scales, reference_mask_layers

_Part = TypeVar("_Part")


def _there(part: _Part | None, family: str, example: str) -> _Part:
    if part is None:
        raise InputError(f"swapper 'point-diffusion' needs a {family}: add \"{family}: {{name: {example}}}\"")
    return part


@dataclass(frozen=True, eq=False)
class DiffusionJob:
    """A `SwapJob` that has all that the method needs."""

    job: SwapJob
    options: PointDiffusionOptions
    context: Context
    backbone: Backbone
    motion: MotionModule
    embeddings: PointEmbeddings

    @classmethod
    def of(cls, job: SwapJob, options: PointDiffusionOptions, context: Context) -> Self:
        """Raises InputError where the job lacks a backbone, a motion module or the points' embeddings."""
        backbone = _there(job.backbone, "backbone", "sd15")
        motion = _there(job.motion, "motion", "animatediff")
        return cls(job, options, context, backbone, motion, _there(job.embeddings, "embedder", "dift"))

    @property
    def concept(self) -> Concept:
        """The new subject; raises InputError without one."""
        return cast(Concept, _there(self.job.concept, "concept", "text"))

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return torch.device(self.context.device)

    @cached_property
    def grid(self) -> LatentGrid:
        """Pixels and latent cells."""
        return LatentGrid.of(self.backbone, self.job.video.size)

    @cached_property
    def ladder(self) -> Ladder:
        """The noise levels."""
        return Ladder.of(self.backbone.alphas_cumprod.to(self.device), self.options.steps)

    @cached_property
    def layers(self) -> list[int]:
        """The attention layers that tell where a word is."""
        if self.options.mask_layers == "reference":
            return reference_mask_layers(self.backbone.layers, self.grid.cells)
        return layers_at_scales(self.backbone.layers, self.options.mask_scales)

    def vectors(self, names: Iterable[str]) -> Tensor:
        """Embeddings [P, D] of these points."""
        index = [self.embeddings.names.index(name) for name in names]
        return torch.from_numpy(self.embeddings.vectors[index])

    def visible(self, tracks: PointTracks) -> BoolArray:
        """bool [F, P]: where the points of `tracks` are seen, and looked like themselves in the source."""
        index = [self.embeddings.names.index(name) for name in tracks.names]
        return tracks.visible & self.embeddings.keep[:, index]

    def splats(self, tracks: PointTracks) -> tuple[Splat, ...]:
        """Of each level, for the points of `tracks`."""
        return splats(tracks.xy, self.visible(tracks), self.grid.size, self.grid.strides)
