"""The data that stages pass on. Everything is NumPy; what is written is safetensors and JSON.

Coordinates are (x, y) pixels of the video at hand, x right, y down, pixel centres at integers. Visibility is a bool
array. Each type checks its shapes when made and says the shape that it got; nobody may change an array they are given.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.arrays import map_array, read_arrays, stream_array, write_arrays
from vswap_kernel.errors import StoreError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]


def _expect(owner: object, name: str, dtype: str, shape: tuple[int | None, ...]) -> None:
    """Check one array field: None in `shape` stands for any length."""
    array = getattr(owner, name)
    where = f"{type(owner).__name__}.{name}"
    wanted = "[" + ", ".join("*" if length is None else str(length) for length in shape) + "]"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{where}: expected a {dtype} array {wanted}, got {type(array).__name__}")
    fits = array.ndim == len(shape) and all(w in (None, g) for w, g in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != np.dtype(dtype):
        raise ValueError(f"{where}: expected {dtype} {wanted}, got {array.dtype} {list(array.shape)}")


def _check_names(owner: object, names: tuple[str, ...]) -> None:
    if not isinstance(names, tuple):
        raise ValueError(f"{type(owner).__name__}.names: expected a tuple of str, got {type(names).__name__}")
    if len({*names}) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{type(owner).__name__}.names: {', '.join(map(repr, twice))} more than once")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: not readable JSON ({error})") from None


class Artefact:
    """What a stage makes: it can be written to a folder, read back, and named by its content."""

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def _meta(self) -> dict[str, Any]:
        """The fields that are neither arrays nor private: all JSON values, but for tuples."""
        fields = vars(self).items()
        return {name: value for name, value in fields if not (name.startswith("_") or isinstance(value, np.ndarray))}

    def save(self, folder: Path) -> None:
        """Write into `folder`, which exists."""
        write_arrays(folder / "arrays.safetensors", self._arrays())
        (folder / "meta.json").write_text(json.dumps(self._meta(), sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            StoreError: the folder is damaged.
        """
        meta = _read_json(folder / "meta.json")
        tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in meta.items()}
        return cls(**read_arrays(folder / "arrays.safetensors"), **tuples)

    def digest(self) -> str:
        """SHA-256 of the content: equal for equal content, on any machine."""
        state = hashlib.sha256(json.dumps([type(self).__name__, self._meta()], sort_keys=True).encode())
        for name, array in sorted(self._arrays().items()):
            state.update(f"{name}{array.dtype}{array.shape}".encode())
            for row in array if array.ndim > 1 else (array,):
                state.update(np.ascontiguousarray(row).data)
        return state.hexdigest()


@dataclass(frozen=True, eq=False)
class FrameArtefact(Artefact):
    """Frames on disk or in memory. A stored one is a memory map: index it like any array, nothing is read before."""

    frames: ByteArray
    _file: Path | None = field(default=None, repr=False, kw_only=True)
    _map: mmap.mmap | None = field(default=None, repr=False, kw_only=True)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[1])

    def chunks(self, length: int = 16) -> Iterator[tuple[int, ByteArray]]:
        """(index of the first frame, frames [n, ...]) of at most `length` frames each, in order.

        Pages already read are given back between chunks, so that memory stays flat however long the clip.
        """
        for start in range(0, len(self.frames), length):
            yield start, self.frames[start : start + length]
            self.release()

    def release(self) -> None:
        """Give back the memory of mapped frames; they are read again when next used."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def save(self, folder: Path) -> None:
        target = folder / "frames.safetensors"
        if self._file is not None:
            try:
                os.link(self._file, target)
            except OSError:  # another file system
                shutil.copyfile(self._file, target)
        else:
            stream_array(target, "frames", (chunk for _, chunk in self.chunks()))
        (folder / "meta.json").write_text(json.dumps(self._meta(), sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        meta = _read_json(folder / "meta.json")
        return cls._mapped(folder / "frames.safetensors", meta)

    @classmethod
    def _mapped(cls, path: Path, meta: Mapping[str, Any]) -> Self:
        frames, mapped = map_array(path, "frames")
        return cls(frames, **meta, _file=path, _map=mapped)

    def digest(self) -> str:
        state = hashlib.sha256(json.dumps([type(self).__name__, self._meta(), self.frames.shape]).encode())
        for _, chunk in self.chunks():
            state.update(np.ascontiguousarray(chunk).data)
        return state.hexdigest()


@dataclass(frozen=True, eq=False)
class Video(FrameArtefact):
    """frames uint8 [T, H, W, 3] RGB; fps is the (mean) frame rate.

    Frame i is frame `first + i * step` of a source of `source_frames` frames (None: nobody knows).
    """

    fps: float
    first: int = 0
    step: int = 1
    source_frames: int | None = None

    def __post_init__(self) -> None:
        _expect(self, "frames", "uint8", (None, None, None, 3))
        if not self.fps > 0:
            raise ValueError(f"Video.fps: expected a positive number, got {self.fps}")

    @classmethod
    def stream(cls, chunks: Iterable[ByteArray], path: Path, fps: float, **place: int) -> Self:
        """Write chunks [n, H, W, 3] to `path` (a new `.safetensors`) as they come, and return the video they make;
        `place` is first, step and source_frames."""
        stream_array(path, "frames", chunks)
        return cls._mapped(path, {"fps": fps, **place})


@dataclass(frozen=True, eq=False)
class Masks(FrameArtefact):
    """frames uint8 [T, H, W]: 255 where the subject is, 0 elsewhere, soft values at its edge."""

    def __post_init__(self) -> None:
        _expect(self, "frames", "uint8", (None, None, None))

    @classmethod
    def stream(cls, chunks: Iterable[ByteArray], path: Path) -> Self:
        """Write chunks [n, H, W] to `path` (a new `.safetensors`) as they come, and return the masks they make."""
        stream_array(path, "frames", chunks)
        return cls._mapped(path, {})


@dataclass(frozen=True, eq=False)
class PointQueries(Artefact):
    """Points that a user named. names N str; frame int32 [N], the keyframe of each; xy float32 [N, 2]."""

    names: tuple[str, ...]
    frame: NDArray[np.int32]
    xy: FloatArray

    def __post_init__(self) -> None:
        _check_names(self, self.names)
        _expect(self, "frame", "int32", (len(self.names),))
        _expect(self, "xy", "float32", (len(self.names), 2))


@dataclass(frozen=True, eq=False)
class PointTracks(Artefact):
    """Where each point is in each frame.

    names N str; xy float32 [T, N, 2], finite everywhere; visible bool [T, N]; confidence float32 [T, N] in 0..1;
    size (width, height) of the video they belong to. keyframe int32 [N] is the frame on which each point was set; None
    where nobody knows. A tracker may leave it out: the kernel fills it in.
    """

    names: tuple[str, ...]
    xy: FloatArray
    visible: BoolArray
    confidence: FloatArray
    size: tuple[int, int]
    keyframe: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        _check_names(self, self.names)
        _expect(self, "xy", "float32", (None, len(self.names), 2))
        _expect(self, "visible", "bool", self.xy.shape[:2])
        if self.keyframe is not None:
            _expect(self, "keyframe", "int32", (len(self.names),))
        _expect(self, "confidence", "float32", self.xy.shape[:2])
        if not np.isfinite(self.xy).all():
            raise ValueError("PointTracks.xy: not finite; give hidden points their best guess and visible=False")

    def __len__(self) -> int:
        return len(self.xy)

    def subset(self, names: Iterable[str]) -> PointTracks:
        """The tracks of `names`, in that order."""
        index = [self.names.index(name) for name in names]
        parts = (self.xy[:, index], self.visible[:, index], self.confidence[:, index])
        keyframe = None if self.keyframe is None else self.keyframe[index]
        return PointTracks(tuple(self.names[i] for i in index), *parts, self.size, keyframe)


@dataclass(frozen=True, eq=False)
class PointEmbeddings(Artefact):
    """What each point looks like.

    names N str; vectors float32 [N, D]; support int32 [N], the number of frames averaged; keep bool [T, N], in which
    frames a point counts as seen; space names the feature, as in "dift:sd15:t261:up1".
    """

    names: tuple[str, ...]
    vectors: FloatArray
    support: NDArray[np.int32]
    keep: BoolArray
    space: str

    def __post_init__(self) -> None:
        _check_names(self, self.names)
        _expect(self, "vectors", "float32", (len(self.names), None))
        _expect(self, "support", "int32", (len(self.names),))
        _expect(self, "keep", "bool", (None, len(self.names)))


@dataclass(frozen=True)
class PointEdit:
    """What the user asks of the points on keyframe `frame`: new places (x, y) for some, others dropped."""

    frame: int = 0
    move: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class DisplacementField(Artefact):
    """How far each point is moved in each frame. names N str; delta float32 [T, N, 2] pixels; valid bool [T, N]."""

    names: tuple[str, ...]
    delta: FloatArray
    valid: BoolArray

    def __post_init__(self) -> None:
        _check_names(self, self.names)
        _expect(self, "delta", "float32", (None, len(self.names), 2))
        _expect(self, "valid", "bool", self.delta.shape[:2])

    def __len__(self) -> int:
        return len(self.delta)


@dataclass(frozen=True)
class Prompt:
    """A text; `per_layer` maps each cross-attention layer (counted down, mid, up) to its own text, as ED-LoRA needs."""

    text: str
    per_layer: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture of a subject: rgba uint8 [H, W, 4], straight alpha; names N str; xy float32 [N, 2] in the picture."""

    rgba: ByteArray
    names: tuple[str, ...]
    xy: FloatArray

    def __post_init__(self) -> None:
        _check_names(self, self.names)
        _expect(self, "rgba", "uint8", (None, None, 4))
        _expect(self, "xy", "float32", (len(self.names), 2))


@dataclass(frozen=True, eq=False)
class SwapResult(Artefact):
    """What a swapper makes: the video, and where the new subject is in it (needed to judge the background)."""

    video: Video
    subject: Masks

    def __post_init__(self) -> None:
        if self.video.frames.shape[:3] != self.subject.frames.shape:
            got = f"{list(self.subject.frames.shape)} for a video of {list(self.video.frames.shape)}"
            raise ValueError(f"SwapResult.subject: expected one mask a frame, got {got}")

    def save(self, folder: Path) -> None:
        for name, part in (("video", self.video), ("subject", self.subject)):
            (folder / name).mkdir()
            part.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(Video.load(folder / "video"), Masks.load(folder / "subject"))

    def digest(self) -> str:
        return hashlib.sha256((self.video.digest() + self.subject.digest()).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Measurement(Artefact):
    """What a metric says: one number per name, and per name a curve float32 [T] over time (NaN: undefined there)."""

    values: Mapping[str, float]
    series: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, curve in self.series.items():
            if curve.ndim != 1 or curve.dtype != np.float32:
                raise ValueError(f"Measurement.series[{name!r}]: expected float32 [T], got {curve.dtype} {curve.shape}")

    def as_json(self) -> dict[str, Any]:
        """JSON values; what is not finite becomes null."""
        curves = {name: [_finite(x) for x in curve.tolist()] for name, curve in self.series.items()}
        return {"values": {name: _finite(value) for name, value in self.values.items()}, "series": curves}

    def save(self, folder: Path) -> None:
        (folder / "measurement.json").write_text(json.dumps(self.as_json(), sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        data = _read_json(folder / "measurement.json")
        values = {name: float("nan") if value is None else value for name, value in data["values"].items()}
        return cls(values, {name: np.array(curve, np.float32) for name, curve in data["series"].items()})

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
