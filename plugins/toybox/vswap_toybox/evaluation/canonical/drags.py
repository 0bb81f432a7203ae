"""Drags of a clip's points, and where they truly go: what is moved keeps its place in the subject's own coordinates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray
from vswap_toybox.affine import Affine, chain, inverse
from vswap_toybox.anatomy import ANATOMIES, POINT_NAMES, Part
from vswap_toybox.clip import Clip
from vswap_toybox.painting import corners, covers
from vswap_toybox.rendering import subject_layers
from vswap_toybox.subject import Subject, part_to_subject

Moves = Mapping[str, tuple[float, float]]
_SHARES = (0.1, 0.2)  # how far a point is moved, of the subject's length
_TILT = 0.4  # radians at most by which the taller roof leans


@dataclass(frozen=True, eq=False)
class Drags:
    """Attributes:
    moves: N points and their new places (x, y) in pixels of the keyframe.
    delta: float32 [T, N, 2] pixels, from where the point is to where it is moved to, in every frame.
    visible: bool [T, N], whether the point itself is seen.
    swings: bool [N], whether the part that the point is on swings; the rest is as rigid as the subject.
    outside: bool [N], whether the new place is beyond the subject's outline on the keyframe.
    """

    moves: Moves
    delta: FloatArray
    visible: BoolArray
    swings: BoolArray
    outside: BoolArray

    def digest(self) -> str:
        """SHA-256 of all that figures depend on."""
        state = hashlib.sha256(repr([*self.moves.items()]).encode())
        for array in (self.delta, self.visible, self.swings, self.outside):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def subject_length(subject: Subject) -> float:
    """From end to end of its parts at rest, in its own units."""
    still = np.zeros(1, np.float32)
    layers = subject_layers(subject, still, np.eye(2, 3)[None])
    around = np.concatenate([corners(layer)[0, :, 0] for layer in layers])
    return float(np.ptp(around))


def sample_moves(rng: np.random.Generator, clip: Clip) -> dict[str, tuple[float, float]]:
    """A new place for each of the clip's points, a tenth to a fifth of the subject's length away.

    The top goes upwards, as in a taller roof; all others anywhere. Places are rounded to 1/100 px.
    """
    owner = clip.motion.subject_to_pixels(clip.size)[clip.keyframe]
    along, up = owner[:, 0], owner[:, 1]
    length = float(np.hypot(*along)) * subject_length(clip.subject)
    moves = {}
    for name, place in zip(clip.tracks.names, clip.tracks.xy[clip.keyframe].astype(np.float64), strict=True):
        tilt = rng.uniform(-_TILT, _TILT)
        turn = np.arctan2(up[1], up[0]) + tilt if name == "top" else rng.uniform(0, 2 * np.pi)
        offset = rng.uniform(*_SHARES) * length * np.array([np.cos(turn), np.sin(turn)])
        x, y = (place + offset).round(2).tolist()
        moves[name] = (x, y)
    return moves


def true_drags(clip: Clip, moves: Moves) -> Drags:
    """Where the points so moved truly go.

    A moved point keeps its place in the coordinates of the part that it is on, as a longer tail wags with the tail:
    unlike `vswap_toybox.clip.drag`, which moves it with the subject as a whole. They differ for parts that swing.
    """
    tracks = clip.tracks.subset(moves)
    parts = [_part_of(clip.subject, name) for name in moves]
    offset = np.array([*moves.values()], np.float64) - tracks.xy[clip.keyframe]
    maps = np.stack([_part_to_pixels(clip, part) for part in parts], axis=1)[..., :2]
    rest = inverse(np.pad(maps[clip.keyframe], ((0, 0), (0, 0), (0, 1))))[..., :2]
    delta = np.einsum("tnij,njk,nk->tni", maps, rest, offset).astype(np.float32)
    swings = np.array([part.swing > 0 for part in parts], np.bool_)
    return Drags(dict(moves), delta, tracks.visible.copy(), swings, _outside(clip, moves))


def _part_of(subject: Subject, name: str) -> Part:
    return subject.parts[ANATOMIES[subject.name].points[POINT_NAMES.index(name)][0]]


def _part_to_pixels(clip: Clip, part: Part) -> Affine:
    """[T, 2, 3] from the part's own frame to pixels."""
    motion = clip.motion
    return chain(motion.subject_to_pixels(clip.size), part_to_subject(part, motion.phase, motion.swing))


def _outside(clip: Clip, moves: Moves) -> BoolArray:
    """bool [N]: whether no part covers the new place on the keyframe."""
    motion = clip.motion[clip.keyframe : clip.keyframe + 1]
    places = np.array([*moves.values()], np.float32)[None]
    layers = subject_layers(clip.subject, motion.phase, motion.subject_to_pixels(clip.size), motion.swing)
    outside: BoolArray = ~np.logical_or.reduce([covers(layer, places)[0] for layer in layers])
    return outside
