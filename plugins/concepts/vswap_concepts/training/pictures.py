"""Reads pictures, their masks and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from vswap_concepts.training.captions import prior_captions, subject_captions
from vswap_concepts.training.settings import Subject
from vswap_kernel.errors import InputError
from vswap_kernel.pictures import PICTURES, decode_image, natural_order, shown_size, to_mask, to_rgb
from vswap_kernel.types import ByteArray


@dataclass(frozen=True, eq=False)
class Picture:
    """A square picture uint8 [S, S, 3], where the subject is in it as uint8 [S, S] or None, and its captions."""

    rgb: ByteArray
    mask: ByteArray | None
    captions: tuple[str, ...]


def picture_files(places: Sequence[Path], what: str) -> list[Path]:
    """The picture files among `places`, and those in the folders among them.

    Raises:
        InputError: there is none, or a place that doesn't exist.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = [file for file in place.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != "."]
            found += sorted(inside, key=natural_order)
        elif place.is_file():
            found.append(place)
        else:
            raise InputError(f"{place}: no such file or folder")
    if not found:
        raise InputError(f"{', '.join(map(str, places))}: no {what} there ({', '.join(PICTURES)})")
    return found


def read_subject(
    places: Sequence[Path], masks: Path | None, subject: Subject, usual: tuple[str, ...], size: int
) -> list[Picture]:
    """The pictures of the subject, `size` pixels wide and high.

    Raises:
        InputError: no pictures; one without a mask, or with one of another size; a caption without the subject.
    """
    files = picture_files(places, "pictures")
    of = {} if masks is None else {file.stem: file for file in picture_files([masks], "masks")}
    made = []
    for file in files:
        if masks is not None and file.stem not in of:
            raise InputError(f"{masks}: no mask for {file.name}; name it {file.stem}.png")
        made.append(Picture(*_square(file, of.get(file.stem), size), subject_captions(file, subject, usual)))
    return made


def read_prior(folder: Path, subject: Subject, size: int) -> list[Picture]:
    """The pictures of the class.

    Raises:
        InputError: no pictures, or a caption that names the subject.
    """
    files = picture_files([folder], "pictures of the class")
    return [Picture(*_square(file, None, size), prior_captions(file, subject)) for file in files]


def _square(path: Path, mask_path: Path | None, size: int) -> tuple[ByteArray, ByteArray | None]:
    """A picture and its mask, scaled to a shorter side of `size`; of the longer one, the middle of the subject."""
    frame = decode_image(path)
    width, height = shown_size(frame)
    scale = size / min(width, height)
    scaled, scaler = (max(size, round(width * scale)), max(size, round(height * scale))), VideoReformatter()
    rgb, mask = to_rgb(frame, scaled, scaler), None
    if mask_path is not None:
        other = decode_image(mask_path)
        if shown_size(other) != (width, height):
            mine = "x".join(map(str, shown_size(other)))
            raise InputError(f"{mask_path}: {mine} for a picture of {width}x{height}; the mask must have its size")
        mask = to_mask(other, scaled, scaler)
        if not mask.any():
            raise InputError(f"{mask_path}: nothing is white in it; paint the subject white, or leave the picture out")
    left, top = (_start(mask, axis, rgb.shape[1 - axis], size) for axis in (0, 1))
    cut = np.s_[top : top + size, left : left + size]
    return np.ascontiguousarray(rgb[cut]), None if mask is None else np.ascontiguousarray(mask[cut])


def _start(mask: ByteArray | None, axis: int, length: int, size: int) -> int:
    """First row or column of a stretch of `size` with the subject's middle in its own, as far as that goes."""
    if mask is None:
        return (length - size) // 2
    places = np.flatnonzero((mask > 127).any(axis))
    middle = (int(places[0]) + int(places[-1]) + 1) // 2 if len(places) else length // 2
    return min(max(0, middle - size // 2), length - size)
