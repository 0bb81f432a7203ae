"""`flow`: a drag carried from frame to frame by dense optical flow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vswap_canonical.asked import asked_moves
from vswap_canonical.flow_files import FlowFiles, FlowStep, write_flow
from vswap_canonical.local_frames import Expected, LocalFrames, fit_local_frames, on_subject
from vswap_canonical.register import FlowOptions
from vswap_canonical.smoothing import smoothed
from vswap_canonical.turns import Complex, Turns, as_complex, as_points, fit_turns
from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, DisplacementField, Masks, PointEdit, PointTracks, Video

_SMALLEST_SPREAD = 8.0  # scaled px, where one point or none tells the subject's size


class Flow:
    """Canonical that carries each move by the flow around its point, step by step from the keyframe.

    A moved place is often off the subject, where the background's flow says nothing of it; so it is the subject's local
    frame around the *point* that carries the move: an affine map fitted to the flow there. Points are where the tracks
    have them, so only the move's direction and length can drift. It needs hardly any points, and follows parts that
    bend; but small errors add up over long clips.

    With masks, the subject is what they say; without, what lies between the tracked points.
    """

    def __init__(self, options: FlowOptions, context: Context) -> None:
        self._options, self._context = options, context

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """The flow between neighbouring frames, both ways: 8 bytes a scaled pixel and frame, frames read one by one."""
        write_flow(video, masks, out, self._options.short_side, self._context.progress)

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """The move on `edit.frame`, carried step by step; zero for points not moved.

        Where a step's flow can't be believed around a point (it is hidden, say), its move turns as the visible points
        do, as in `similarity`; so it does where the subject turns round, which no flow shows. Valid where the point is
        visible and the step that led there rests on flow; never beyond a step that rests on nothing: no flow, and
        fewer than two points.

        Raises:
            InputError: `edit` moves a point that isn't tracked or is hidden on its frame, or that is beyond the end;
                the flow is that of a video of another length.
            StoreError: `fitted` is damaged.
        """
        moved, offset = asked_moves(tracks, edit)
        delta, valid = np.zeros(tracks.xy.shape, np.float32), tracks.visible.copy()
        if moved.size:
            walk = _Walk(FlowFiles(fitted), tracks, edit.frame, moved, self._options)
            carried, held = walk.carried(as_complex(offset * walk.files.scale))
            steady = smoothed(as_points(carried) / walk.files.scale, edit.frame, self._options.smooth)
            steady[edit.frame] = offset
            delta[:, moved] = steady
            valid[:, moved] &= held
        return DisplacementField(tracks.names, delta, valid)


class _Walk:
    """From a keyframe to both ends: places and moves are complex numbers, in scaled pixels."""

    def __init__(
        self, files: FlowFiles, tracks: PointTracks, frame: int, moved: NDArray[np.intp], options: FlowOptions
    ) -> None:
        if files.frames != len(tracks):
            raise InputError(
                f"canonical 'flow': fitted to {files.frames} frames, but the tracks have {len(tracks)}; fit again"
            )
        self.files, self._frame, self._moved, self._options = files, frame, moved, options
        self._places, self._visible = as_complex(tracks.xy * files.scale), tracks.visible
        self._turns = fit_turns(self._places, self._visible, frame, mirror=True)
        seen = self._places[frame, self._visible[frame]]
        spread = np.sqrt((np.abs(seen - seen.mean()) ** 2).mean())
        self._radius = options.radius * max(_SMALLEST_SPREAD, float(spread))

    def carried(self, move: Complex) -> tuple[Complex, BoolArray]:
        """(the moves [M] in every frame [T, M]; where they rest on flow all the way, or all but, bool [T, M])."""
        moves = np.tile(move, (self.files.frames, 1))
        held = np.ones(moves.shape, np.bool_)
        for direction in (1, -1):
            lost = np.zeros(len(move), np.bool_)
            for step in self.files.steps(self._frame, direction):
                moves[step.end], told = self._stepped(step, moves[step.start])
                lost |= ~told & ~self._turns.known[[step.start, step.end]].all()
                held[step.end] = told & ~lost
        return moves, held

    def _stepped(self, step: FlowStep, move: Complex) -> tuple[Complex, BoolArray]:
        """(the moves [M] one step on, whether flow tells it [M])."""
        turn, turned_round = _between(self._turns, step.start, step.end)
        if turned_round:
            return turn * move.conj(), np.zeros(len(move), np.bool_)
        start, points = self._places[step.start, self._moved], self._places[step.start, self._visible[step.start]]
        shift = self._places[step.end, self._moved] - start
        around = self._fitted(step, start, Expected(points, shift, turn))
        carried, told = np.where(around.told, around.applied(move), turn * move), around.told
        if self._options.carry == "place":
            place = self._fitted(step, start + move, Expected(points, shift + (turn - 1) * move, turn))
            there = told & place.told & on_subject(step, start + move, points)
            carried = np.where(there, move + place.shift - around.shift, carried)
        return carried, told

    def _fitted(self, step: FlowStep, places: Complex, expected: Expected) -> LocalFrames:
        return fit_local_frames(step, places, expected, self._radius, self._options.max_error)


def _between(turns: Turns, start: int, end: int) -> tuple[complex, bool]:
    """(what a move [M] of frame `start` is multiplied by for `end`, whether it is mirrored before that)."""
    if turns.mirrored[start] == turns.mirrored[end]:
        return complex(turns.factor[end] / turns.factor[start]), False
    return complex(turns.factor[end] / turns.factor[start].conj()), True
