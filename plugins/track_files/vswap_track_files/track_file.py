"""Reads tracks from any kind of file that is known here.

- a folder that `PointTracks.save` wrote (or the arrays.safetensors in it): our own format;
- `.json`: {name: {"xy": [[x, y], ...], "visible": [...]}}, or such a mapping under "tracks" as in a Toybox truth.json;
- `.pt`, `.pth`: the reference's `TAP.pth`, or CoTracker's tracks and visibility written by `torch.save`;
- `.npz`, `.pkl`: the same arrays written by NumPy or pickle;
- `.pkl`: TAP-Vid's clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vswap_kernel.errors import InputError, MissingExtraError, StoreError, nearest_first
from vswap_kernel.types import PointTracks
from vswap_track_files.arrays_file import holds_tracks, read_npz, tracks_of
from vswap_track_files.found_tracks import FoundTracks
from vswap_track_files.safe_pickle import read_pickle
from vswap_track_files.tapvid import TapVidClip, read_tapvid
from vswap_track_files.tracks_json import read_tracks_json

_KINDS = "a folder of our own, .json, .npz, .pkl, .pt, .pth"


def read_tracks(path: Path, clip: str | None = None) -> FoundTracks:
    """The tracks in a file, as it has them. Nothing that a file may hold is run.

    Args:
        path: file or folder.
        clip: which clip of a TAP-Vid file; None: its only one.

    Raises:
        InputError: another kind of file, a damaged one, or fields that are missing or don't fit together.
        MissingExtraError: a torch file where torch isn't installed.
    """
    if path.is_dir() or path.name == "arrays.safetensors":
        return _own(path if path.is_dir() else path.parent)
    if path.suffix == ".json":
        return read_tracks_json(path)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix in (".pt", ".pth"):
        return _torch_file(path)
    if path.suffix in (".pkl", ".pickle"):
        return _pickled(path, clip)
    raise InputError(f"{path}: no known kind of tracks; known: {_KINDS}")


def _own(folder: Path) -> FoundTracks:
    try:
        tracks = PointTracks.load(folder)
    except (StoreError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{folder}: not a folder of tracks ({error}); expected meta.json, arrays.safetensors"
        ) from None
    return FoundTracks(tracks.names, tracks.xy, tracks.visible, tracks.confidence, tracks.size)


def _torch_file(path: Path) -> FoundTracks:
    try:
        from vswap_track_files.tap_file import tap_of
        from vswap_track_files.tensors import load_tensors
    except ImportError:
        raise MissingExtraError(f"{path}: reading it takes torch; run: pip install 'vswap[diffusion]'") from None
    data = load_tensors(path)
    if isinstance(data, Mapping) and "point_name2id" in data:
        tap = tap_of(path, data)
        return FoundTracks.with_gaps(path, tap.names, tap.xy, tap.visible)
    return tracks_of(path, _numpy(data))


def _numpy(value: Any) -> Any:
    """A torch file's content with arrays in the place of tensors."""
    if isinstance(value, Mapping):
        return {key: _numpy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numpy(item) for item in value]
    return value.detach().float().numpy() if hasattr(value, "detach") else value


def _pickled(path: Path, clip: str | None) -> FoundTracks:
    data = read_pickle(path)
    if holds_tracks(data):
        return tracks_of(path, data)
    found = _chosen(path, read_tapvid(path), clip)
    return FoundTracks(None, found.xy, found.visible, found.visible.astype("float32"), found.size)


def _chosen(path: Path, clips: list[TapVidClip], name: str | None) -> TapVidClip:
    names = [clip.name for clip in clips]
    if name is None and len(clips) == 1:
        return clips[0]
    if name is None:
        some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"{path}: holds {len(clips)} clips ({some}); name one in the option clip")
    if name not in names:
        raise InputError(f"{path}: has no clip {name!r}; {nearest_first(name, names)}")
    return clips[names.index(name)]
