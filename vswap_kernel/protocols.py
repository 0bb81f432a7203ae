"""What each family's components do. A third party needs no base class: methods of these shapes are enough.

A component is made as ``Class(options, context)`` (see `vswap_kernel.api`). It never changes what it is given, and
answers the same input with the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vswap_kernel.api import NO_PROMPT, SwapPrompt
from vswap_kernel.types import (
    ByteArray,
    Cutout,
    DisplacementField,
    Masks,
    Measurement,
    PointEdit,
    PointEmbeddings,
    PointQueries,
    PointTracks,
    Prompt,
    SwapResult,
    Video,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor


@runtime_checkable
class Tracker(Protocol):
    """Carries points through a video, forwards and backwards from each point's keyframe."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Positions in every frame. On its keyframe a point is exactly where the query put it, and visible."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Says what each point looks like."""

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        """One vector a point, averaged over the frames in which it is seen; `subject` is the category word."""
        ...


@runtime_checkable
class Masker(Protocol):
    """Finds the subject in every frame."""

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        """Masks of the video's size and length; `queries` are the user's points, on the subject by definition."""
        ...


@runtime_checkable
class Canonical(Protocol):
    """Carries the drag of points on a keyframe to every frame."""

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Learn the video's own geometry, and write it to the folder `out`."""
        ...

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """The displacement of every point of `tracks` in every frame: zero for those that `edit` doesn't move."""
        ...


@dataclass(frozen=True)
class CrossAttentionLayer:
    """One cross-attention layer of a U-Net: the path of its attention module, the part of the U-Net that it is in
    ("down", "mid" or "up"), and how many latent cells one of its queries spans (1, 2, 4, 8)."""

    path: str
    part: str
    stride: int


@dataclass(frozen=True)
class Window:
    """Clips of more than `length` frames are predicted in windows of that many, which share `overlap` frames."""

    length: int
    overlap: int


class Backbone(Protocol):
    """A diffusion model whose clips are batches of frames.

    The frames of a clip lie side by side in the batch axis: latents are [B * F, 4, h, w], all frames of clip 0 first.

    Attributes:
        family: what concepts and motion modules are made for, as in "sd15-unet".
        latent_scale: what encoded latents are multiplied by.
        unet, vae, text_encoder, tokenizer: the live diffusers and transformers objects; concepts and motion modules
            attach to them.
        alphas_cumprod: float32 [1000], the signal's share of the variance at each timestep.
        layers: the cross-attention layers in order: down, mid, up. Their index here is a layer's number everywhere.
        frames, first: F of the pass under way, and which frame of the clip is its first one; hooks read them.
        window: set by a motion module while it is attached; None: every clip in one pass.
    """

    family: str
    latent_scale: float
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    alphas_cumprod: Tensor
    frames: int
    first: int
    window: Window | None

    @property
    def layers(self) -> Sequence[CrossAttentionLayer]:
        """The cross-attention layers in order."""
        ...

    def encode(self, frames: ByteArray, /, generator: Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """Latents float32 [F, 4, h, w], scaled, of frames uint8 [F, H, W, 3]: a sample of the posterior where a
        generator, or its noise [F, 4, h, w], is given; else the mean."""
        ...

    def decode(self, latents: Tensor, /) -> ByteArray:
        """Frames uint8 [F, H, W, 3] of scaled latents [F, 4, h, w]."""
        ...

    def embed_text(self, prompt: Prompt, /) -> Tensor:
        """Text embeddings [1, 77, C], or [layers, 77, C] for a prompt per layer."""
        ...

    def predict(
        self, latents: Tensor, timestep: int, text: Tensor, /, *, frames: int, residuals: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Predicted noise, of the shape of `latents` [B * F, 4, h, w].

        Args:
            latents: noisy and scaled.
            timestep: 0..999; DDIM inversion's first one may be negative.
            text: [B, 77, C], or per layer [layers, B, 77, C]; every frame of a clip has the same.
            frames: F.
            residuals: per level, what is added to the last block of that down level before its downsampler:
                [F, C, h, w] for all B, or [B * F, C, h, w].
        """
        ...

    def capture_attention(
        self, tokens: Sequence[int], layers: Sequence[int], /
    ) -> AbstractContextManager[Mapping[int, Tensor]]:
        """While the context is open, the mapping holds by layer number the last `predict`'s cross-attention maps of the
        tokens at those positions (0..76), meaned over the heads: float32 [B, F, tokens, h, w]. Nothing else is kept."""
        ...


@runtime_checkable
class Concept(Protocol):
    """The new subject as a diffusion model knows it."""

    def prompt(self, text: str, /) -> Prompt:
        """The prompt with the concept's words made known."""
        ...

    def attach(self, backbone: Backbone, /) -> AbstractContextManager[None]:
        """Teach `backbone` the concept; leaving the context undoes it exactly."""
        ...


@runtime_checkable
class CutoutConcept(Protocol):
    """The new subject as a picture. Its spec has the capability "cutout"."""

    def cutout(self) -> Cutout:
        """The subject without its background, and its named points."""
        ...


@runtime_checkable
class MotionModule(Protocol):
    """What makes a backbone's frames agree in time."""

    max_frames: int

    def attach(self, backbone: Backbone, /) -> AbstractContextManager[None]:
        """Put the temporal layers in, and set `backbone.window` for longer clips; leaving the context takes them out
        exactly."""
        ...


@dataclass(frozen=True, eq=False)
class SwapJob:
    """All that a swapper works from.

    Attributes:
        video: the source.
        tracks: where the points are in it.
        targets: where the new subject's points are asked to be: `tracks` less the dropped points, plus the drags.
        masks: the source subject, when the config names a masks component.
        embeddings: of the points of `tracks`, when it names an embedder.
        prompt: the source prompt, the target prompt, and the old and the new subject's words; in `prepare` the first
            alone.
        concept, motion, backbone: the components that the config names, of those families that the swapper `accepts`.
    """

    video: Video
    tracks: PointTracks
    targets: PointTracks
    masks: Masks | None = None
    embeddings: PointEmbeddings | None = None
    prompt: SwapPrompt = NO_PROMPT
    concept: Concept | CutoutConcept | None = None
    motion: MotionModule | None = None
    backbone: Backbone | None = None


@runtime_checkable
class Swapper(Protocol):
    """An editing method."""

    def prepare(self, job: SwapJob, out: Path, /) -> None:
        """Work that depends on the source alone (a clean plate, registration), written to the folder `out`.

        It is kept: a second swap of the same video, with another concept or other targets, starts from it. `job` has no
        concept here, and `targets` equal `tracks`.
        """
        ...

    def swap(self, job: SwapJob, prepared: Path, /) -> SwapResult:
        """The swap itself; result of the source's length and size."""
        ...


@dataclass(frozen=True, eq=False)
class MetricCase:
    """All that a metric may look at: source, result, the masks of the old and the new subject (`result.subject`), where
    points were asked to be, and the tracker of the run, to find them again in the result."""

    source: Video
    result: SwapResult
    masks: Masks | None
    targets: PointTracks
    tracker: Tracker


@runtime_checkable
class Metric(Protocol):
    """Judges a result."""

    def measure(self, case: MetricCase, /) -> Measurement:
        """One number per name, and curves over time where there are any."""
        ...
