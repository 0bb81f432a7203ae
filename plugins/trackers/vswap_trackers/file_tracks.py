"""`file`: tracks that somebody else made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.types import FloatArray, PointQueries, PointTracks, Video
from vswap_track_files.found_tracks import FoundTracks
from vswap_track_files.track_file import read_tracks
from vswap_trackers.contract import finished, require_keyframes
from vswap_trackers.options_models import FileOptions

_ASPECT_TOLERANCE = 0.01
"""Whole pixels can't keep an aspect exactly: 854x480 and 428x240 are the same picture."""


class FileTracks:
    """Tracker that reads tracks from a file (see `vswap_track_files.track_file` for its kinds).

    The file has either one place for each edited frame, or one for each frame of the whole source, of which those of
    the edited range are taken. Tracks of another size but the same aspect are scaled. On its keyframe each point must
    be where the user set it, up to `tolerance` pixels; by that little its whole track is shifted, so that it is exactly
    there and doesn't jump. On its keyframe a point is visible whatever the file says: the user saw it. Where the file
    has no place for a point (hidden in a `TAP.pth`, null in JSON), it is on the line between those around.

    It doesn't look at the frames: asked to find points again in a result, it gives the source's tracks.
    """

    def __init__(self, options: FileOptions, context: Context) -> None:
        self._options = options

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """The tracks of the queries' points, in their order; more points in the file don't matter.

        Raises:
            InputError: a point that the file lacks or has elsewhere on its keyframe, another number of frames, another
                aspect, or a file that can't be read.
        """
        require_keyframes(video, queries)
        if not queries.names:
            empty = np.zeros((len(video), 0), np.float32)
            return PointTracks((), np.zeros((len(video), 0, 2), np.float32), empty.astype(bool), empty, video.size)
        found = _fitting(self._options, video, video.size, queries.names)
        xy = self._on_keyframes(found, queries)
        return finished(queries, video.size, xy, found.visible, found.confidence)

    def _on_keyframes(self, found: FoundTracks, queries: PointQueries) -> FloatArray:
        """The places [T, N, 2], each track shifted to be at its query on its keyframe."""
        every = np.arange(len(queries.names))
        away = queries.xy - found.xy[queries.frame, every]
        if found.told is not None:
            away[~found.told[queries.frame, every]] = 0.0
        distance = np.linalg.norm(away, axis=1)
        worst = int(distance.argmax())
        if distance[worst] > self._options.tolerance:
            x, y = found.xy[queries.frame[worst], worst]
            raise InputError(
                f"{self._options.path}: point {queries.names[worst]!r} is at ({x:.1f}, {y:.1f}) on frame "
                f"{queries.frame[worst]}, {distance[worst]:.1f} px from where it was set; set it there, or raise the "
                "option tolerance"
            )
        return (found.xy + away).astype(np.float32)


def preflight(options: FileOptions, facts: Facts) -> None:
    """Check names, number of frames and size before anything is computed.

    Raises:
        InputError: as of `FileTracks.track`, but for places on keyframes.
    """
    if facts.point_names:
        _fitting(options, facts, facts.size, facts.point_names)


def describe(options: FileOptions) -> dict[str, bool]:
    """For the preflights of others: these tracks are the source's, and say nothing of what is in a result."""
    return {"looks_at_frames": False}


def _fitting(
    options: FileOptions, excerpt: Video | Facts, size: tuple[int, int], names: tuple[str, ...]
) -> FoundTracks:
    """The file's tracks of the points `names`, in that order, for the edited range and its `size` (width, height)."""
    found = read_tracks(options.path, options.clip)
    return _scaled(options, _frames_of(options, _named(options, found, names), excerpt), size)


def _named(options: FileOptions, found: FoundTracks, names: tuple[str, ...]) -> FoundTracks:
    """Those of the wanted points, in their order."""
    count = found.xy.shape[1]
    there = options.names or found.names or names
    if len(there) != count:
        whose = "option names has" if options.names else "run has"
        raise InputError(
            f"{options.path}: {count} points without names, the {whose} {len(there)}; name all of them, in the file's "
            "order, in the option names"
        )
    lacking = [name for name in names if name not in there]
    if lacking:
        raise InputError(f"{options.path}: has no point {lacking[0]!r}; {nearest_first(lacking[0], there)}")
    index = [there.index(name) for name in names]
    return FoundTracks(
        names,
        found.xy[:, index],
        found.visible[:, index],
        found.confidence[:, index],
        found.size,
        None if found.told is None else found.told[:, index],
    )


def _frames_of(options: FileOptions, found: FoundTracks, excerpt: Video | Facts) -> FoundTracks:
    """Those of the edited range."""
    count, wanted = len(found.xy), len(excerpt)
    if count == wanted:
        return found
    if count != excerpt.source_frames:
        source = excerpt.source_frames
        whole = f", or {source}, one for each frame of the source" if source else ""
        raise InputError(f"{options.path}: it has {count} frames; give {wanted}, one for each edited frame{whole}")
    chosen = excerpt.first + excerpt.step * np.arange(wanted)
    told = None if found.told is None else found.told[chosen]
    return replace(
        found, xy=found.xy[chosen], visible=found.visible[chosen], confidence=found.confidence[chosen], told=told
    )


def _scaled(options: FileOptions, found: FoundTracks, size: tuple[int, int]) -> FoundTracks:
    """In pixels of a video of `size`, pixel centres at integers."""
    own = options.size or found.size or size
    if abs(own[0] * size[1] / (own[1] * size[0]) - 1) > _ASPECT_TOLERANCE:
        raise InputError(
            f"{options.path}: its tracks are of a video of {own[0]}x{own[1]}, this one is {size[0]}x{size[1]}: another "
            "aspect; give tracks of this video"
        )
    factor = np.array(size, np.float32) / np.array(own, np.float32)
    return replace(found, xy=((found.xy + 0.5) * factor - 0.5).astype(np.float32)) if own != size else found
