"""A video with exact answers: what the conformance kit tries components on."""

from __future__ import annotations

from dataclasses import dataclass

from vswap_kernel.types import (
    Cutout,
    DisplacementField,
    Masks,
    PointEdit,
    PointQueries,
    PointTracks,
    SwapResult,
    Video,
)


@dataclass(frozen=True, eq=False)
class Case:
    """One video and the truth about it.

    Attributes:
        name: as in its `CaseSpec`.
        video, masks: the source and its subject.
        queries, tracks: the points on their keyframes, and where they truly are in every frame.
        cutout: a picture of another subject with the same point names, facing as the source subject does at rest.
        answer: the same scene and motion with that other subject: the exact answer of a swap.
        edit, displacement: a drag, and where it truly goes in every frame.
        points: of what kind the points are, where they are of one that some trackers find alone: "coco-joints" for
            those with the capability "only:coco-joints".
    """

    name: str
    video: Video
    masks: Masks
    queries: PointQueries
    tracks: PointTracks
    cutout: Cutout | None = None
    answer: SwapResult | None = None
    edit: PointEdit | None = None
    displacement: DisplacementField | None = None
    points: str = ""
