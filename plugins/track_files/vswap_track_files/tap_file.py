"""`TAP.pth`, the reference's file of tracks and embeddings.

It holds {pred_tracks [F, P, 2] in pixels (x, y), point_name2id {name: number}, point_embedding [P, D]}. A point with a
negative coordinate is not visible there; every other one counts as visible, beyond the edge too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, FloatArray, PointEmbeddings, PointTracks
from vswap_track_files.tensors import load_tensors


@dataclass(frozen=True, eq=False)
class TapFile:
    """What a `TAP.pth` holds: names P str, in the order of the arrays; xy float32 [F, P, 2] pixels, negative where a
    point is hidden; vectors float32 [P, D], None where the file has no embeddings."""

    names: tuple[str, ...]
    xy: FloatArray
    vectors: FloatArray | None = None

    @property
    def visible(self) -> BoolArray:
        """bool [F, P]."""
        return np.asarray((self.xy >= 0).all(-1))

    def tracks(self, size: tuple[int, int]) -> PointTracks:
        """The tracks, in a video of `size` (width, height), which the file doesn't tell."""
        seen = self.visible
        return PointTracks(self.names, self.xy, seen, seen.astype(np.float32), size)

    def embeddings(self, space: str = "dift:sd15-unet:t261:up1") -> PointEmbeddings | None:
        """The embeddings; the file doesn't tell their `space`: the default is what the reference always uses."""
        if self.vectors is None:
            return None
        seen = self.visible
        return PointEmbeddings(self.names, self.vectors, seen.sum(0).astype(np.int32), seen, space)


def read_tap(path: Path) -> TapFile:
    """Read a `TAP.pth`.

    Raises:
        InputError: as of `load_tensors`, or fields that are missing or don't fit together.
    """
    return tap_of(path, load_tensors(path))


def tap_of(path: Path, data: Any) -> TapFile:
    """What the loaded `data` of a `TAP.pth` says; `path` is for messages.

    Raises:
        InputError: fields that are missing or don't fit together.
    """
    if not isinstance(data, dict):
        raise InputError(
            f"{path}: expected pred_tracks, point_name2id and point_embedding, got a {type(data).__name__}"
        )
    xy = _floats(path, data, "pred_tracks", 3)
    if xy.shape[2] != 2:
        raise InputError(f"{path}: pred_tracks: expected [frames, points, 2], got {list(xy.shape)}")
    names = _names(path, data.get("point_name2id"), xy.shape[1])
    vectors = None if data.get("point_embedding") is None else _floats(path, data, "point_embedding", 2)
    if vectors is not None and len(vectors) != len(names):
        raise InputError(f"{path}: point_embedding: {len(vectors)} vectors for {len(names)} points")
    return TapFile(names, xy, vectors)


def _floats(path: Path, data: dict[str, Any], field: str, dimensions: int) -> FloatArray:
    value = data.get(field)
    if not isinstance(value, torch.Tensor) or value.ndim != dimensions:
        got = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise InputError(f"{path}: {field}: expected a tensor of {dimensions} dimensions, got {got}")
    if not torch.isfinite(value).all():
        raise InputError(f"{path}: {field}: not finite everywhere")
    return np.asarray(value.detach().float().numpy())


def _names(path: Path, numbers: Any, points: int) -> tuple[str, ...]:
    """The points' names, by their numbers."""
    fits = isinstance(numbers, dict) and sorted(map(str, numbers.values())) == sorted(map(str, range(points)))
    if not fits or not all(isinstance(name, str) for name in numbers):
        raise InputError(f"{path}: point_name2id: expected the numbers 0 to {points - 1}, one name each")
    return tuple(sorted(numbers, key=numbers.__getitem__))


def write_tap(path: Path, tracks: PointTracks, embeddings: PointEmbeddings | None = None) -> None:
    """Write tracks, and the embeddings of the same points, as the reference reads them.

    A point is visible in the file where the tracks say so and, with embeddings, where it is kept.

    Raises:
        InputError: the embeddings are of other points or frames.
    """
    visible = tracks.visible
    if embeddings is not None:
        if embeddings.names != tracks.names or embeddings.keep.shape != visible.shape:
            raise InputError(f"{path}: embeddings and tracks are of other points or frames")
        visible = visible & embeddings.keep
    xy = np.where(visible[..., None], np.maximum(tracks.xy, 0), np.float32(-1))
    data: dict[str, Any] = {"pred_tracks": torch.from_numpy(xy)}
    data["point_name2id"] = {name: number for number, name in enumerate(tracks.names)}
    if embeddings is not None:
        data["point_embedding"] = torch.from_numpy(embeddings.vectors.copy())
    torch.save(data, path)
