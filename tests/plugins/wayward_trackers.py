"""Trackers whose ways are known, to put into an ensemble."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from small_plugin import Drift, DriftTracker
from vswap_kernel.api import ComponentSpec, Context, Facts, InputPath, hookimpl
from vswap_kernel.errors import InputError
from vswap_kernel.types import PointQueries, PointTracks, Video


class WaywardOptions(Drift):
    """Options of all of them."""

    file: InputPath | None = Field(None, description="a file whose content counts")


class Wandering(DriftTracker):
    """Sure of itself, and lower by 3 px each frame, forwards or backwards: it doesn't find back."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        tracks = super().track(video, queries)
        low = abs(np.arange(len(video))[:, None] - queries.frame) * np.float32(3.0)
        xy = (tracks.xy + np.stack([np.zeros_like(low), low], axis=-1)).astype(np.float32)
        return PointTracks(tracks.names, xy, tracks.visible, tracks.confidence, tracks.size)


class ByName(DriftTracker):
    """Knows points of one letter and no others, as those that read names do."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        if unknown := [name for name in queries.names if len(name) > 1]:
            raise InputError(f"no point {unknown[0]!r}")
        return super().track(video, queries)


class Noting(DriftTracker):
    """Notes the names of what it is asked for, and where its scratch is."""

    asked: list[tuple[str, ...]]

    def __init__(self, options: WaywardOptions, context: Context) -> None:
        super().__init__(options, context)
        self.asked = []

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        self.asked.append(queries.names)
        return super().track(video, queries)


class Blind(DriftTracker):
    """Sees a point on its keyframe and never again; sure of it all the same."""

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        tracks = super().track(video, queries)
        visible = np.arange(len(video))[:, None] == queries.frame
        return PointTracks(tracks.names, tracks.xy, visible, tracks.confidence, tracks.size)


def refuse(options: WaywardOptions, facts: Facts) -> None:
    """Wants ten frames."""
    if len(facts) < 10:
        raise InputError(f"refusing: {len(facts)} frames are too few; give 10")


@hookimpl
def vswap_trackers() -> Iterable[ComponentSpec]:
    for kind in (Wandering, ByName, Noting, Blind):
        yield ComponentSpec(kind.__name__.lower(), f"wayward_trackers:{kind.__name__}", WaywardOptions)
    yield ComponentSpec("refusing", "wayward_trackers:ByName", WaywardOptions, preflight="wayward_trackers:refuse")
