"""What each family's components do. A third party needs no base class: methods of these shapes are enough.

A component is made as ``Class(options, context)`` (see `vswap_kernel.api`). It never changes what it is given, and
answers the same input with the same bytes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from vswap_kernel.types import (
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


class Backbone(Protocol):
    """A diffusion model. Its methods (encode, decode, embed_text, predict) come with the first one (issue 3)."""

    family: str


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
        """Put the temporal layers in; leaving the context takes them out exactly."""
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
        prompt: the source prompt and the target prompt.
        concept, motion, backbone: the components that the config names.
    """

    video: Video
    tracks: PointTracks
    targets: PointTracks
    masks: Masks | None = None
    embeddings: PointEmbeddings | None = None
    prompt: tuple[str, str] = ("", "")
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
