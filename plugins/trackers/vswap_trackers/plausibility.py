"""Which sightings stand: a point that parts from its fellows must look all the more like itself.

Trackers follow pictures, and pictures mislead: a point that leaves sticks to the border, a thin limb's point stays on
the ground that it passes, one of two like wheels is taken for the other. None of these moves as the subject does, nor
looks as the point did on its keyframe. Each alone proves little (limbs swing, and a point at an edge has other ground
beside it); together they do.
"""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.contract import finished, inside
from vswap_trackers.group_motion import Similarity, fit_similarity
from vswap_trackers.looks import Looks
from vswap_trackers.options_models import PlausibleOptions
from vswap_trackers.working_size import Frame, WorkingSize

_SHORT_SIDE = 240
"""Pixels to which frames are scaled; all lengths here are of that."""
_LEVELS = 12.0
"""Levels of 255 by which colours differ where a place is like its keyframe by 1/e."""
_LEAST = 0.15
"""Likeness below which a point has no say in where the others are expected."""
_SURE = 0.5
"""Likeness from which on a point is taken at its word, and its place among its fellows is learnt."""
_BARE_REACH = 0.05
"""Share of the points' extent by which a point may be away from where it is expected, whatever it looks like."""
_SLACK = 2.0
_BORDER = 5.0
"""Pixels along the border, half a look's side, in which a look is cut and proves nothing."""
_SAME_PLACE = 2.0
"""Pixels within which two points are in one place; they are two if they are expected `_APART` from each other."""
_APART = 4.0
_ROWS = 256
"""Points compared with all others at once, so that memory stays flat."""
_RELEASE_EVERY = 16


def plausible(options: PlausibleOptions, video: Video, queries: PointQueries, tracks: PointTracks) -> PointTracks:
    """The tracks without the sightings that don't stand; as they are where the options don't want that.

    From frame to frame a similarity takes the layout of the points, as it was on their keyframes, to where most of
    those that are seen are. Where that *expects* a point decides with its *likeness*, exp(-levels / 12), levels being
    those by which the colours around it differ from its keyframe's. A sighting stands if

    - the point is expected inside the frame, or is surely like itself (1/2) and farther inside than its look is wide,
    - it is no farther from where it is expected than (.05 + .95 likeness) times the points' extent (root mean square),
      or 2 pixels of a frame of 240 lines, and
    - of two points in one place, it is the one nearer to where it is expected: of an opaque subject one is seen there.

    A point whose sighting doesn't stand is seen where it is expected if it is surely like itself there, and well
    inside; else it is hidden, and its place stays as it was. One that was hidden stays so. A point surely like itself
    takes its place among the others anew. While none is seen, the last motion goes on, slower and slower.
    """
    if not options.plausible or not queries.names:
        return tracks
    places, seen, working = tracks.xy.copy(), tracks.visible.copy(), WorkingSize.of(video.size, _SHORT_SIDE)
    asked = PointQueries(queries.names, queries.frame, working.into(queries.xy))
    for step in (1, -1):
        first = int(queries.frame.min() if step > 0 else queries.frame.max())
        order = range(first, len(video)) if step > 0 else range(first, -1, -1)
        layout = _Layout(asked, working.scaled)
        for done, t in enumerate(order if len(order) > 1 else (), start=1):
            layout.advance(working.prepared(video.frames[t]), t, working.into(tracks.xy[t]), tracks.visible[t])
            past = (t - queries.frame) * step > 0
            moved = past & layout.moved
            seen[t, past], places[t, moved] = layout.seen[past], working.back(layout.expected[moved])
            if done % _RELEASE_EVERY == 0:
                video.release()
    video.release()
    return finished(queries, video.size, places, seen, tracks.confidence)


class _Layout:
    """Where N points are expected, on the way in one direction; they join at their keyframes.

    Attributes:
        expected: float32 [N, 2] pixels.
        seen: bool [N], who is seen, be it where it was said to be or, `moved` [N], where it is expected.
    """

    def __init__(self, queries: PointQueries, size: tuple[int, int]) -> None:
        count = len(queries.names)
        self._queries, self._size, self._looks = queries, size, Looks(count)
        self.expected: FloatArray = queries.xy.copy()
        self._linear: FloatArray = np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
        self._joined: BoolArray = np.zeros(count, bool)
        self.seen, self.moved = self._joined.copy(), self._joined.copy()
        self._motion = Similarity()

    def advance(self, frame: Frame, t: int, xy: FloatArray, visible: BoolArray) -> None:
        """Judge frame number t by the points' places [N, 2] and who is called visible [N]."""
        if self._joined.any():
            self._judge(frame, xy, visible & self._joined)
        new = self._queries.frame == t
        self._looks.learn(frame.colour, self._queries.xy, self._linear, new)
        self._joined, self.seen = self._joined | new, self.seen | new

    def _judge(self, frame: Frame, xy: FloatArray, said: BoolArray) -> None:
        likeness, well_inside = self._likeness(frame, xy), self._well_inside(xy)
        sure = said & (likeness >= _SURE) & well_inside
        self._move(xy, (said & self.seen & (likeness >= _LEAST) & well_inside) | sure)
        away = np.linalg.norm(xy - self.expected, axis=1)
        reach = np.maximum(self._extent() * (_BARE_REACH + (1 - _BARE_REACH) * likeness), _SLACK)
        stands = said & (away <= reach) & (inside(self.expected, self._size) | sure)
        stands &= ~self._doubled(xy, stands, away)
        like = (self._likeness(frame, self.expected) >= _SURE) & self._well_inside(self.expected)
        self.moved = said & ~stands & like
        home = stands & sure
        self.expected[home] = xy[home]
        self.seen = stands | self.moved

    def _likeness(self, frame: Frame, xy: FloatArray) -> FloatArray:
        """How like their keyframes the points look at places [N, 2]: float32 [N] in 0..1."""
        return np.asarray(np.exp(-self._looks.unlike_keyframe(frame.colour, xy, self._linear) / _LEVELS))

    def _well_inside(self, xy: FloatArray) -> BoolArray:
        return inside(xy - _BORDER, self._size) & inside(xy + _BORDER, self._size)

    def _move(self, xy: FloatArray, trusted: BoolArray) -> None:
        """Take the layout to where the points that are trusted [N] are, xy [N, 2]."""
        if trusted.any():
            self._motion = fit_similarity(self.expected[trusted], xy[trusted])
        else:
            self._motion = self._motion.damped()
        joined, size = self._joined, np.array(self._size, np.float32)
        self.expected[joined] = np.clip(self._motion.apply(self.expected[joined]), -size, 2 * size)
        self._linear[joined] = self._motion.matrix @ self._linear[joined]

    def _extent(self) -> float:
        """Pixels: how far the points lie from their middle; two of them tell nothing."""
        places = self.expected[self._joined]
        if len(places) < 3:
            return float("inf")
        return float(np.sqrt(np.square(places - np.median(places, axis=0)).sum(axis=1).mean()))

    def _doubled(self, xy: FloatArray, seen: BoolArray, away: FloatArray) -> BoolArray:
        """Which points are in the place of another that is nearer to where it is expected: bool [N]."""
        doubled, every = np.zeros(len(xy), bool), np.flatnonzero(seen)
        # two in one place are expected apart: the farther one is off by half of that difference at least
        for some in np.split(every, range(_ROWS, len(every), _ROWS)):
            some = some[away[some] > (_APART - _SAME_PLACE) / 2]
            near = np.linalg.norm(xy[some, None] - xy[every], axis=2) <= _SAME_PLACE
            two = np.linalg.norm(self.expected[some, None] - self.expected[every], axis=2) > _APART
            doubled[some] = (near & two & (away[every] < away[some, None])).any(axis=1)
        return doubled
