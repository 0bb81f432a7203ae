"""`dis-flow`: dense optical flow, chained over hops of several lengths from each point's keyframe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.api import Context
from vswap_kernel.types import BoolArray, PointQueries, PointTracks, Video
from vswap_trackers.contract import finished, inside, require_keyframes
from vswap_trackers.flow_chain import Evidence, FlowChain
from vswap_trackers.plausibility import plausible
from vswap_trackers.register import DisFlowOptions
from vswap_trackers.visibility import VisibilityRule, bridged
from vswap_trackers.working_size import WorkingSize

_RELEASE_EVERY = 16
"""Frames; the pages of a mapped video are given back that often."""


class DisFlow:
    """Tracker that needs a processor and OpenCV only; thousands of points cost little more than one.

    The flow is computed for whole frames, from frames 1, 2 and 4 (`gaps`) before each. A point takes the hop that is
    least in doubt: the flow comes back to where it started, and the place looks like the point (soft colours, on its
    keyframe or lately); where the flow fails it goes along with its `Fellows`, points near it that moved alike. Where a
    patch still looks as on the keyframe, it is aligned to that, to a fraction of a pixel, so that small errors don't
    add up.

    Visible or not is decided by `VisibilityRule`; what a point looks like is there its keyframe's colours or structure,
    for a recent look would learn the occluder that it slides onto. A hidden point is sought by its keyframe's patch
    near where its visible fellows would have it, and wherever its keyframe's surroundings are found again
    (`Redetection`); one that turns out to have been far off was not seen since it was last sure. Hidden places are
    those of `bridged`. Confidence is the trust. At the end `plausible` judges the sightings once more.
    """

    def __init__(self, options: DisFlowOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._rule = VisibilityRule(options.max_error, options.hide, options.show)

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        """Tracks of all points in all frames. Each frame is read at most once forwards and once backwards.

        Raises:
            InputError: a keyframe beyond the end of the video.
        """
        require_keyframes(video, queries)
        frames, count = len(video), len(queries.names)
        working = WorkingSize.of(video.size, self._options.short_side)
        asked = PointQueries(queries.names, queries.frame, working.into(queries.xy))
        xy = np.tile(asked.xy, (frames, 1, 1))
        carried, trust, visible = xy.copy(), np.zeros((frames, count), np.float32), np.zeros((frames, count), bool)
        visible[queries.frame, np.arange(count)] = True
        for step in (1, -1) if count else ():
            for t, evidence in self._walk(video, asked, working, step):
                past = (t - queries.frame) * step > 0
                xy[t, past], carried[t, past] = evidence.xy[past], evidence.carried[past]
                self._take_back(visible, t, np.where(past, evidence.sure_before, -1))
                trust[t, past], visible[t, past] = evidence.trust[past], evidence.visible[past]
        visible &= inside(xy, working.scaled)
        places = working.back(bridged(xy, visible, carried))
        return plausible(self._options, video, queries, finished(queries, video.size, places, visible, trust))

    @staticmethod
    def _take_back(visible: BoolArray, t: int, sure_before: NDArray[np.intp]) -> None:
        """Points that are found again in frame t far off were not seen between then and frame `sure_before` [N]."""
        which = np.flatnonzero(sure_before >= 0)
        if len(which):
            number, sure = np.arange(len(visible))[:, None], sure_before[which]
            visible[:, which] &= (number <= np.minimum(sure, t)) | (number >= np.maximum(sure, t))

    def _walk(
        self, video: Video, asked: PointQueries, working: WorkingSize, step: int
    ) -> Iterator[tuple[int, Evidence]]:
        """Frame numbers from the first keyframe on, in walking order, with what is known of the points there."""
        chain = FlowChain(asked, self._options.gaps, self._rule)
        order = range(asked.frame.min(), len(video)) if step > 0 else range(asked.frame.max(), -1, -1)
        for done, t in enumerate(order, start=1):
            yield t, chain.advance(working.prepared(video.frames[t]), t)
            self._context.progress(done, len(order), "forwards" if step > 0 else "backwards")
            if done % _RELEASE_EVERY == 0:
                video.release()
        video.release()
