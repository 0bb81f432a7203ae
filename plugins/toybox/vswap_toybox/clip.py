"""A clip of the Toybox with all that is true about it, and the exact answer of swapping its subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.types import Cutout, DisplacementField, Masks, PointQueries, PointTracks, SwapResult, Video
from vswap_toybox.affine import inverse
from vswap_toybox.cutout import render_cutout
from vswap_toybox.motion import Motion
from vswap_toybox.rendering import render_chunks, subject_tracks
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import CLASSES, Subject

_ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class Clip:
    """Attributes:
    subject, target: the subject of the video, and the one of the answer.
    scene, motion, size: shared by both; size is (width, height).
    video, masks: the source, and where its subject is seen.
    tracks: where the points truly are; those hidden on the keyframe are left out, as no user could have set them.
    queries: the same points on the keyframe.
    answer, answer_tracks: the target in the same scene and motion, and where its points are (the same names).
    cutout: a picture of the target at rest, facing as the source does on the keyframe.
    keyframe: the frame on which the points are set.
    """

    subject: Subject
    target: Subject
    scene: Scene
    motion: Motion
    size: tuple[int, int]
    video: Video
    masks: Masks
    tracks: PointTracks
    queries: PointQueries
    answer: SwapResult
    answer_tracks: PointTracks
    cutout: Cutout
    keyframe: int

    def background(self) -> Video:
        """The scene without any subject (occluders included), rendered anew."""
        chunks = render_chunks(None, self.scene, self.motion, self.size)
        return Video(np.concatenate([chunk.frames for chunk in chunks]), self.video.fps)


def clip(
    seed: int,
    *,
    frames: int = 16,
    size: tuple[int, int] = (128, 128),
    subject_class: str | None = None,
    target_class: str | None = None,
    occluder: bool = False,
    shape_change: bool = False,
    keyframe: int | None = None,
    fps: float = 12.0,
    folder: Path | None = None,
) -> Clip:
    """A random clip; the same arguments give the same bytes.

    Args:
        seed: of every choice.
        frames, size, fps: length, (width, height), frame rate.
        subject_class: of the source, drawn when None.
        target_class: of the answer. When None the target is the source's own shape in another colour and pattern.
        occluder: whether something passes in front of the subject.
        shape_change: whether a target of the same class has other proportions too; `answer_tracks` less `tracks` is
            then the exact displacement of a change of shape.
        keyframe: chosen by `make_clip` when None.
        folder: where to write the frames, so that memory doesn't grow with the clip; in memory when None.

    Raises:
        InputError: no such class, or an impossible size or length.
    """
    for name in (subject_class, target_class):
        if name is not None and name not in CLASSES:
            raise InputError(f"toybox: no subject class {name!r}; {nearest_first(name, CLASSES)}")
    if frames < 1 or min(size) < 16:
        raise InputError(f"toybox: {frames} frames of {size[0]}x{size[1]}; make it at least 1 frame of 16x16 pixels")
    rng = np.random.default_rng(seed)
    subject = Subject.sample(rng, subject_class)
    target = _other(rng, subject, target_class or subject.name, shape_change)
    scene, motion = _staged(rng, subject, frames, size, occluder)
    return make_clip(subject, target, scene, motion, size, keyframe=keyframe, fps=fps, folder=folder)


def make_clip(
    subject: Subject,
    target: Subject,
    scene: Scene,
    motion: Motion,
    size: tuple[int, int],
    *,
    keyframe: int | None = None,
    fps: float = 12.0,
    folder: Path | None = None,
) -> Clip:
    """The clip of these; when `keyframe` is None it is the first of the frames with the most visible points."""
    tracks = subject_tracks(subject, scene, motion, size)
    keyframe = int(tracks.visible.sum(1).argmax()) if keyframe is None else keyframe
    if not 0 <= keyframe < len(motion):
        raise InputError(f"toybox: keyframe {keyframe} is beyond the end, the clip has {len(motion)} frames")
    names = [name for name, seen in zip(tracks.names, tracks.visible[keyframe], strict=True) if seen]
    tracks = tracks.subset(names)
    queries = PointQueries(tracks.names, np.full(len(names), keyframe, np.int32), tracks.xy[keyframe].copy())
    cutout = render_cutout(target, facing=float(motion.facing[keyframe]))
    source, answer = (
        _filmed(each, scene, motion, size, fps, folder and folder / name)
        for name, each in (("source", subject), ("answer", target))
    )
    answer_tracks = subject_tracks(target, scene, motion, size).subset(names)
    found = (source.video, source.subject, tracks, queries, answer, answer_tracks, cutout, keyframe)
    return Clip(subject, target, scene, motion, size, *found)


def drag(clip: Clip, moves: Mapping[str, tuple[float, float]]) -> DisplacementField:
    """Where points dragged on the keyframe truly go in every frame.

    The dragged point keeps its place in the subject's own coordinates: the offset turns, grows, leans and flips with
    the subject as a whole, not with the part that the point is on.

    Args:
        clip: whose points are dragged.
        moves: {name: (x, y)}, new places in pixels of the keyframe, as in `PointEdit.move`.

    Returns:
        Displacements of all the clip's points, zero for those not moved; valid everywhere.

    Raises:
        InputError: a name that the clip doesn't have.
    """
    names = clip.tracks.names
    for name in moves:
        if name not in names:
            raise InputError(f"drag: no point {name!r}; {nearest_first(name, names)}")
    offset = np.zeros((len(names), 2))
    for index, name in enumerate(names):
        if name in moves:
            offset[index] = np.array(moves[name], np.float64) - clip.tracks.xy[clip.keyframe, index]
    maps = clip.motion.subject_to_pixels(clip.size)
    carried = maps[:, :, :2] @ inverse(maps)[clip.keyframe, :, :2]
    delta = (carried @ offset.T).transpose(0, 2, 1).astype(np.float32)
    return DisplacementField(names, delta, np.ones(delta.shape[:2], np.bool_))


def _other(rng: np.random.Generator, subject: Subject, name: str, shape_change: bool) -> Subject:
    """The target: of class `name`; when that is the subject's own, its shape is too, unless `shape_change` is set."""
    if name != subject.name:
        return Subject.sample(rng, name)
    repainted = subject.repainted(rng)
    if not shape_change:
        return repainted
    other = Subject.sample(rng, name)
    return replace(repainted, length=other.length, height=other.height, detail=other.detail)


def _staged(
    rng: np.random.Generator, subject: Subject, frames: int, size: tuple[int, int], occluder: bool
) -> tuple[Scene, Motion]:
    """A scene and a motion with a frame in which all points are seen, if a few attempts find one."""
    scene = Scene.sample(rng)
    for _ in range(_ATTEMPTS):
        motion = Motion.sample(rng, frames)
        staged = scene.occluded(Occluder.across(rng, motion)) if occluder else scene
        if subject_tracks(subject, staged, motion, size).visible.all(1).any():
            break
    return staged, motion


def _filmed(
    subject: Subject, scene: Scene, motion: Motion, size: tuple[int, int], fps: float, folder: Path | None
) -> SwapResult:
    """The subject's video and masks: in memory, or streamed to `folder` when it is given."""
    if folder is None:
        width, height = size
        frames = np.empty((len(motion), height, width, 3), np.uint8)
        masks = np.empty((len(motion), height, width), np.uint8)
        start = 0
        for chunk in render_chunks(subject, scene, motion, size):
            stop = start + len(chunk.frames)
            frames[start:stop], masks[start:stop] = chunk.frames, chunk.masks
            start = stop
        return SwapResult(Video(frames, fps), Masks(masks))
    folder.mkdir(parents=True, exist_ok=True)
    video = Video.stream(
        (chunk.frames for chunk in render_chunks(subject, scene, motion, size)), folder / "frames.safetensors", fps
    )
    # Rendered twice rather than held: a stream writes one tensor, and rendering costs less than keeping the masks.
    masks_file = folder / "masks.safetensors"
    return SwapResult(
        video, Masks.stream((chunk.masks for chunk in render_chunks(subject, scene, motion, size)), masks_file)
    )
