"""The clips of a data folder, in the layouts that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vswap_kernel.errors import InputError
from vswap_kernel.pictures import natural_order, to_rgb
from vswap_kernel.types import BoolArray, ByteArray, Video
from vswap_kernel.video import Selection, open_source, read_frames, read_masks
from vswap_track_files.tapvid import TapVidClip, read_tapvid
from vswap_trackers.evaluation.annotations import read_joints, read_rendered
from vswap_trackers.evaluation.truth import Truth

_VIDEOS = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif")
_LAYOUTS = "clips (frames/, masks/, points_badja_240p.json), rendered clips (source/, truth.json), TAP-Vid's .pkl files"
_GRID = 8
"""Points along each side of the grid that is followed where there is no truth."""


@dataclass(frozen=True)
class Loaded:
    """A clip about to be tracked: its frames, uint8 [n, H, W, 3] RGB in chunks, and what is known of its points."""

    chunks: Iterator[ByteArray]
    truth: Truth
    fps: float


@dataclass(frozen=True)
class Clip:
    """A clip that was found; `load` reads it, and may be called again. judged: whether it has any truth."""

    name: str
    judged: bool
    load: Callable[[], Loaded]


def resized(video: Video, size: tuple[int, int]) -> Iterator[ByteArray]:
    """The video's frames at `size` (width, height), aspect not kept: uint8 [n, H, W, 3] in chunks."""
    scaler = VideoReformatter()
    for _, chunk in video.chunks():
        yield np.stack([to_rgb(VideoFrame.from_ndarray(frame, "rgb24"), size, scaler) for frame in chunk])


def find_clips(data: Path) -> tuple[list[Clip], list[str]]:
    """The clips in `data`: a TAP-Vid pickle, a clip's folder, or a folder of those.

    Clips without truth are left out where others have it; alone, they are tracked for speed and for their overlays.
    Video files count where there is nothing else.

    Returns:
        the clips in natural order, and the names of those that are left out.

    Raises:
        InputError: nothing is there that can be tracked, or two clips have the same name.
    """
    if not data.exists():
        raise InputError(f"--data {data}: no such file or folder")
    paths = sorted(data.iterdir(), key=natural_order) if data.is_dir() else []
    found = _clips_at(data) or [clip for path in paths for clip in _clips_at(path)]
    found = found or [clip for path in (data, *paths) for clip in _videos_at(path)]
    if not found:
        raise InputError(f"--data {data}: nothing to track there; expected {_LAYOUTS}, or a folder of such")
    judged = [clip for clip in found if clip.judged]
    left_out = [clip.name for clip in found if judged and not clip.judged]
    chosen = judged or found
    names = [clip.name for clip in chosen]
    if len(set(names)) < len(names):
        raise InputError(f"--data {data}: two clips are called {max(names, key=names.count)!r}; rename one")
    return chosen, left_out


def _clips_at(path: Path) -> list[Clip]:
    """The clips that a file or folder is by itself; none for one of another kind."""
    name = path.resolve().stem if path.is_file() else path.resolve().name
    if (path / "source").is_dir() and (path / "truth.json").is_file():
        return [Clip(name, True, partial(_load_rendered, path))]
    if (path / "frames").is_dir():
        joints = _joints_file(path)
        return [Clip(name, joints is not None, partial(_load_folder, path, joints))]
    if path.is_file() and path.suffix.lower() in (".pkl", ".pickle"):
        names = [f"{name}-{clip.name}" if clip.name.isdecimal() else clip.name for clip in _tapvid(path)]
        return [Clip(title, True, partial(_load_tapvid, path, index)) for index, title in enumerate(names)]
    return []


def _videos_at(path: Path) -> list[Clip]:
    known = path.is_file() and path.suffix.lower() in _VIDEOS
    return [Clip(path.stem, False, partial(_load_video, path))] if known else []


@lru_cache(maxsize=1)  # their clips are asked for one after the other, and a file may take gigabytes
def _tapvid(path: Path) -> Sequence[TapVidClip]:
    return read_tapvid(path)


def _load_tapvid(path: Path, index: int) -> Loaded:
    clip = _tapvid(path)[index]
    names = tuple(str(i) for i in range(clip.xy.shape[1]))
    return Loaded(clip.frames(), Truth(names, clip.xy, clip.visible, np.ones_like(clip.visible), clip.size), 24.0)


def _load_rendered(folder: Path) -> Loaded:
    source = open_source(folder / "source")
    truth = read_rendered(folder / "truth.json", source.frames, source.size)
    return Loaded(read_frames(source, Selection()), truth, source.fps)


def _joints_file(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("points_badja*.json"))), None)


def _load_folder(folder: Path, joints: Path | None) -> Loaded:
    source, masks = open_source(folder / "frames"), folder / "masks"
    if joints is None:
        first = next(read_masks(masks, chunk=1), None) if masks.is_dir() else None
        return Loaded(read_frames(source, Selection()), _grid(source.frames, source.size, first), source.fps)
    areas = _areas(masks, source.frames) if masks.is_dir() else None
    return Loaded(read_frames(source, Selection()), read_joints(joints, source.frames, source.size, areas), source.fps)


def _load_video(path: Path) -> Loaded:
    source = open_source(path)
    return Loaded(read_frames(source, Selection()), _grid(source.frames, source.size, None), source.fps)


def _areas(masks: Path, frames: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The subject's area in each frame: float64 [T] pixels."""
    areas = np.concatenate([(chunk >= 128).sum(axis=(1, 2)) for chunk in read_masks(masks)])
    if len(areas) != frames:
        raise InputError(f"{masks}: it has {len(areas)} masks; give {frames}, one for each frame")
    return areas.astype(np.float64)


def _grid(frames: int, size: tuple[int, int], mask: BoolArray | ByteArray | None) -> Truth:
    """Points on a grid over the first frame, those on its mask [1, H, W] where there is one; nothing else is known."""
    width, height = size
    inside = np.ones((height, width), bool) if mask is None or not (mask >= 128).any() else mask[0] >= 128
    rows, columns = np.nonzero(inside)
    left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
    shares = (np.arange(_GRID) + 0.5) / _GRID
    x, y = np.meshgrid(left + shares * (right - left), top + shares * (bottom - top))
    places = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    places = places[inside[places[:, 1].round().astype(int), places[:, 0].round().astype(int)]]
    known = np.zeros((frames, len(places)), bool)
    known[0] = True
    return Truth(tuple(map(str, range(len(places)))), np.tile(places, (frames, 1, 1)), known, known, size)
