"""Pictures and video inside the page, as data URIs."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from vswap_kernel.encode import write_video
from vswap_kernel.pictures import EXACT, encode_jpeg
from vswap_kernel.types import ByteArray, Video

_CHUNK = 16
_PANEL_WIDTH = 640
_CRF = 23


def fitted(size: tuple[int, int], width: int) -> tuple[int, int]:
    """`size` (width, height) shrunk to at most `width`, both even, as video encoders want them."""
    scale = min(1.0, width / size[0])
    return max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2)


def scaled(picture: ByteArray, size: tuple[int, int]) -> ByteArray:
    """uint8 [H, W, 3] or [H, W] at another `size` (width, height)."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    layout = "rgb24" if picture.ndim == 3 else "gray"
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), layout)
    method = Interpolation.AREA | EXACT
    return frame.reformat(*size, interpolation=method, threads=1).to_ndarray().astype(np.uint8, copy=False)


def picture_uri(frame: ByteArray) -> str:
    """A frame uint8 [H, W, 3] as a JPEG."""
    return _uri("image/jpeg", encode_jpeg(frame))


def side_by_side_uri(source: Video, result: Video) -> str:
    """Source left, result right, as one mp4; read and written in chunks."""
    size = fitted(source.size, _PANEL_WIDTH)
    with tempfile.TemporaryDirectory(prefix="vswap-report-") as folder:
        path = Path(folder) / "side-by-side.mp4"
        write_video(path, _pairs(source, result, size), source.fps, crf=_CRF)
        return _uri("video/mp4", path.read_bytes())


def _pairs(source: Video, result: Video, size: tuple[int, int]) -> Iterator[ByteArray]:
    """uint8 [n, H, 2 W, 3]"""
    for start, frames in source.chunks(_CHUNK):
        pairs = zip(frames, result.frames[start : start + len(frames)], strict=True)
        yield np.stack([np.concatenate([scaled(a, size), scaled(b, size)], axis=1) for a, b in pairs])
        result.release()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
