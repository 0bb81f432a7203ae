"""Single pictures: FFmpeg's frames as upright RGB, and picture files.

YUV is converted by the matrix that the frame names; if it names none, by BT.709 from 720 lines on, else by BT.601.
libswscale scales: area when shrinking, bicubic otherwise.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from vswap_kernel.errors import InputError

ByteArray = NDArray[np.uint8]
Size = tuple[int, int]
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_UNREADABLE = ("ICC_PROFILE", "31")
"""Side data of photos that PyAV 18 breaks on when asked for the display matrix: it frees a colour profile twice, which
ends the process, and doesn't know EXIF (31 in FFmpeg 8) by name."""
EXACT = Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def read_image(path: Path) -> ByteArray:
    """A picture, upright: uint8 [H, W, 4] RGBA, straight alpha. Raises InputError if it can't be read."""
    frame = decode_image(path)
    return np.ascontiguousarray(_upright(_scaled(frame, None, "rgba", VideoReformatter()), frame))


def encode_png(array: ByteArray) -> bytes:
    """Grey [H, W], RGB [H, W, 3] or RGBA [H, W, 4], all uint8, as the bytes of a PNG file."""
    layout = {2: "gray", 3: "rgb24", 4: "rgba"}[array.ndim if array.ndim == 2 else array.shape[2]]
    return _encode("png", VideoFrame.from_ndarray(np.ascontiguousarray(array), layout))


def encode_jpeg(array: ByteArray) -> bytes:
    """RGB uint8 [H, W, 3] as the bytes of a JPEG file of high quality."""
    colour: Any = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": "JPEG", "interpolation": EXACT}
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")
    return _encode("mjpeg", frame.reformat(format="yuvj444p", **colour), qmin=2, qmax=3)


def decode_image(path: Path) -> VideoFrame:
    """The frame in a picture file. Raises InputError if there is none."""
    try:
        with path.open("rb") as file, av.open(file, "r") as container:  # by name, a "%" would be a pattern
            return _without(_UNREADABLE, next(container.decode(video=0)))
    except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
        raise InputError(f"{path}: can't be read as a picture ({getattr(error, 'strerror', 'empty')})") from error


def _without(kinds: tuple[str, ...], frame: VideoFrame) -> VideoFrame:
    """The frame without its side data of these kinds."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    filters = [graph.add("sidedata", f"mode=delete:type={kind}") for kind in kinds]
    graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def natural_order(file: Path) -> list[tuple[int, str]]:
    """A key to sort files by: numbers in their names count as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def shown_size(frame: VideoFrame, aspect: Fraction | None = None) -> Size:
    """(width, height) of the frame upright, its pixels (of that aspect) made square."""
    return _turned(frame, (round(frame.width * (aspect or 1)), frame.height))


def to_rgb(frame: VideoFrame, size: Size, scaler: VideoReformatter) -> ByteArray:
    """uint8 [H, W, 3], upright, scaled to `size` (width, height); what is transparent is laid over black."""
    return _upright(_scaled(_opaque(frame, scaler), _turned(frame, size), "rgb24", scaler), frame)


def to_mask(frame: VideoFrame, size: Size, scaler: VideoReformatter) -> ByteArray:
    """uint8 [H, W], upright, scaled to `size` (width, height): see `vswap_kernel.video.read_masks`."""
    value = _scaled(_opaque(frame, scaler), None, "rgb24", scaler).max(2)
    if frame.format.name == "pal8" or ((value == 0) | (value == value.max())).all():
        value = (value > 0).astype(np.uint8) * np.uint8(255)
    return _upright(_scaled(VideoFrame.from_ndarray(value, "gray"), _turned(frame, size), "gray", scaler), frame)


def _encode(codec: str, frame: VideoFrame, **settings: int) -> bytes:
    context = cast(av.VideoCodecContext, av.CodecContext.create(codec, "w"))
    values = {"width": frame.width, "height": frame.height, "pix_fmt": frame.format.name, "time_base": Fraction(1)}
    for name, value in (values | settings).items():
        setattr(context, name, value)
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def _opaque(frame: VideoFrame, scaler: VideoReformatter) -> VideoFrame:
    if frame.format.name != "pal8" and not any(part.is_alpha for part in frame.format.components):
        return frame
    rgba = _scaled(frame, None, "rgba", scaler)
    rgb = (rgba[..., :3] * rgba[..., 3:].astype(np.uint16) + 127) // 255
    return VideoFrame.from_ndarray(rgb.astype(np.uint8), "rgb24")


def _scaled(frame: VideoFrame, size: Size | None, layout: str, scaler: VideoReformatter) -> ByteArray:
    width, height = size or (frame.width, frame.height)
    method = Interpolation.AREA if width * height < frame.width * frame.height else Interpolation.BICUBIC
    how: dict[str, Any] = {"interpolation": method | EXACT, "threads": 1}
    if frame.colorspace == 2 and frame.format.name.startswith(("yuv", "nv")):  # AVCOL_SPC_UNSPECIFIED
        how["src_colorspace"] = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    return cast(ByteArray, scaler.reformat(frame, width, height, layout, **how).to_ndarray())


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the display matrix: x' = a x + c y, y' = b x + d y."""
    for data in frame.side_data:
        if cast(Any, data).type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = np.frombuffer(cast(Any, data), "<i4").tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def _turned(frame: VideoFrame, size: Size) -> Size:
    a, b, _, _ = _matrix(frame)
    return size[::-1] if abs(b) > abs(a) else size


def _upright(array: ByteArray, frame: VideoFrame) -> ByteArray:
    a, b, c, d = _matrix(frame)
    if abs(b) > abs(a):
        array, a, d = array.swapaxes(0, 1), c, b
    return array[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
