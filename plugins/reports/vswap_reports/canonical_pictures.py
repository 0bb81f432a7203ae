"""Pictures that a canonical left in its fitted folder: its atlas, its reconstruction beside the source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.pictures import read_image
from vswap_kernel.types import ByteArray
from vswap_reports.media import fitted, picture_uri, scaled

_LIST = "pictures.json"
_KINDS = (".png", ".jpg", ".jpeg")
_SIDE = 960
_SQUARE = 8  # of the checkerboard behind what is transparent
_LIGHT, _DARK = 236, 212


@dataclass(frozen=True)
class CanonicalPicture:
    """A picture as a data URI; "" where it can't be shown, and `caption` says why."""

    uri: str
    caption: str


def canonical_pictures(fitted_folder: Path | None) -> list[CanonicalPicture]:
    """The pictures that pictures.json, {file name: caption}, of the folder lists, in its order; none without one."""
    if fitted_folder is None or not (fitted_folder / _LIST).is_file():
        return []
    try:
        listed = json.loads((fitted_folder / _LIST).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return [CanonicalPicture("", f"{_LIST}: not readable JSON")]
    if not isinstance(listed, dict) or not all(isinstance(caption, str) for caption in listed.values()):
        return [CanonicalPicture("", f"{_LIST}: expected an object of file name: caption")]
    return [_shown(fitted_folder, name, caption) for name, caption in listed.items()]


def _shown(folder: Path, name: str, caption: str) -> CanonicalPicture:
    reason = _refusal(folder, name)
    try:
        if not reason:
            return CanonicalPicture(picture_uri(_small(_opaque(read_image(folder / name)))), _printable(caption))
    except (InputError, av.FFmpegError, ValueError, MemoryError):
        reason = "can't be read as a picture"
    return CanonicalPicture("", f"{_printable(name)}: {reason}")


def _refusal(folder: Path, name: str) -> str:
    """Why `name` isn't a picture of the folder's own; "" where it is."""
    path = folder / name
    if Path(name).name != name or path.suffix.lower() not in _KINDS:
        return f"not the name of a picture ({', '.join(_KINDS)}) in the fitted folder"
    if not path.is_file():
        return "no such file"
    return "" if path.resolve().parent == folder.resolve() else "leads out of the fitted folder"


def _small(picture: ByteArray) -> ByteArray:
    """uint8 [H, W, 3], no side longer than 960 pixels."""
    height, width = picture.shape[:2]
    if max(width, height) <= _SIDE:
        return picture
    return scaled(picture, fitted((width, height), min(_SIDE, max(1, round(_SIDE * width / height)))))


def _opaque(rgba: ByteArray) -> ByteArray:
    """RGBA uint8 [H, W, 4] over a checkerboard: uint8 [H, W, 3]."""
    alpha = rgba[..., 3:]
    if (alpha == 255).all():
        return np.ascontiguousarray(rgba[..., :3])
    y, x = np.ogrid[: rgba.shape[0], : rgba.shape[1]]
    board = np.where((y // _SQUARE + x // _SQUARE) % 2, _DARK, _LIGHT)[..., None].astype(np.uint16)
    mixed = (rgba[..., :3] * alpha.astype(np.uint16) + board * (255 - alpha.astype(np.uint16)) + 127) // 255
    return mixed.astype(np.uint8)


def _printable(text: str) -> str:
    """`text` as UTF-8 can hold it: JSON's escapes can make halves of characters."""
    return text.encode("utf-8", "replace").decode()
