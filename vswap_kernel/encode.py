"""Writing video: MP4 and MOV (H.264), WebM (VP9), GIF, folders of PNG. Equal input makes equal bytes.

H.264 and VP9 get 4:2:0 colour of limited range, tagged BT.709; of an odd size, the last row or column is doubled. What
is written appears under its name only when it is complete.
"""

from __future__ import annotations

import heapq
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain, count, repeat
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from vswap_kernel.errors import InputError
from vswap_kernel.pictures import EXACT, ByteArray, encode_png
from vswap_kernel.video import Selection, Source, frames_at, working_size

Packets = Iterator[tuple[float, list[Any]]]
"""Encoded packets, and when they are due, in seconds."""

# x264's macroblock tree gives other bytes from run to run (seen with PyAV 18: 6 different files in 8 runs).
_H264 = {"preset": "medium", "threads": "2", "x264-params": "mbtree=0"}
_CODECS: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("libx264", _H264),
    ".mov": ("libx264", _H264),
    ".webm": ("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "4", "threads": "2"}),
    ".gif": ("gif", {}),
}
_PALETTE = (("split",), ("palettegen", "stats_mode=single"), ("paletteuse", "new=1"))


def write_result(
    path: Path,
    source: Source,
    selection: Selection,
    edited: Iterable[ByteArray],
    *,
    keep_rest: bool = True,
    crf: int = 16,
) -> None:
    """Write the source with its selected frames replaced by `edited`, chunks uint8 [n, H, W, 3] RGB in order.

    Every frame keeps its time, and the sound stays (copied; as AAC or Opus where the format can't hold it). With a
    stride, the frames in between are left out over the whole clip. With `keep_rest` off, the selected frames alone are
    written, from time 0 and without sound. The suffix of `path` tells the format; without one it is a folder of PNG.

    Raises:
        InputError: the path can't be written, or the source can't be read.
        ValueError: `edited` has another number of frames than the selection, or frames of another size.
    """
    picked, size = selection.indices(source), working_size(source, selection)
    kept = range(picked.start % picked.step, source.frames, picked.step) if keep_rest else picked
    first = kept.index(picked.start)
    before, after = kept[:first], kept[first + len(picked) :]
    stop = source.frames if keep_rest else picked[-1] + 1
    times = np.append(source.pts[kept], source.pts[stop] if stop < source.frames else source.end)
    times -= 0 if keep_rest else times[0]
    stamps = zip(times.tolist(), np.diff(times).tolist(), strict=False)
    wanted = (len(picked), size[1], size[0], 3)
    chunks = chain(frames_at(source, before, size), _checked(edited, wanted), _rest(frames_at(source, after, size, 1)))
    how = _Encoding(stamps, source.time_base, source.fps, crf)
    _write(path, chunks, how, source if keep_rest and source.has_audio else None)


def write_video(path: Path, chunks: Iterable[ByteArray], fps: float, *, crf: int = 16) -> None:
    """Write chunks uint8 [n, H, W, 3] RGB as a silent video. Raises InputError where the path can't be written."""
    tick = 1 / Fraction(fps).limit_denominator(1001)
    _write(path, chunks, _Encoding(zip(count(), repeat(1), strict=False), tick, fps, crf), None)


def write_png(path: Path, array: ByteArray) -> None:
    """Write grey [H, W], RGB or RGBA [H, W, 3 or 4] uint8 as PNG. Raises InputError where that can't be done."""
    with _replacing(path) as part:
        part.write_bytes(encode_png(array))


def _checked(chunks: Iterable[ByteArray], wanted: tuple[int, ...]) -> Iterator[ByteArray]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if chunk.shape[1:] != wanted[1:]:
            raise ValueError(f"edited frames of the shape {chunk.shape[1:]}, not {wanted[1:]}")
        yield chunk
    if seen != wanted[0]:
        raise ValueError(f"{seen} edited frames for a selection of {wanted[0]}")


def _rest(chunks: Iterator[ByteArray]) -> Iterator[ByteArray]:
    try:
        yield from chunks
    except InputError as error:  # the edit itself is whole, and hours may have gone into it
        logging.getLogger(__name__).warning("the result ends where the source is damaged: %s", error)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when all went well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if path.is_dir():
            if any(not (file.stem.isdecimal() and file.suffix == ".png") for file in path.iterdir()):
                raise FileExistsError(17, "there are other things in this folder")
            shutil.rmtree(path)
        part.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


class _Encoding(NamedTuple):
    """Time and duration of each frame in units of `tick` seconds, the mean frame rate, and the quality."""

    stamps: Iterator[tuple[int, int]]
    tick: Fraction
    fps: float
    crf: int


def _write(path: Path, chunks: Iterable[ByteArray], how: _Encoding, sound: Source | None) -> None:
    """Write frames, and the sound of a source."""
    suffix, frames = path.suffix.lower(), (frame for chunk in chunks for frame in chunk)
    if suffix and suffix not in _CODECS:
        raise InputError(
            f"{path}: {suffix} can't be written; use {', '.join(_CODECS)}, or no suffix for a folder of PNG"
        )
    with _replacing(path) as part:
        if not suffix:
            part.mkdir()
            for index, frame in enumerate(frames):
                (part / f"{index:05}.png").write_bytes(encode_png(frame))
            return
        options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {})
        with av.open(str(part), "w", format=suffix[1:], container_options=options) as output:
            tracks = [_video(output, suffix, frames, how)]
            if sound and suffix != ".gif":
                tracks.append(_sound(output, sound))
            for _, packets in heapq.merge(*tracks, key=lambda track: track[0]):  # both begin before the first is muxed
                output.mux(packets)


def _video(output: OutputContainer, suffix: str, frames: Iterator[ByteArray], how: _Encoding) -> Packets:
    first, (stamps, tick, fps, crf) = next(frames), how
    height, width = first.shape[:2]
    gif, (codec, options) = suffix == ".gif", _CODECS[suffix]
    odd = (0, 0) if gif else (height % 2, width % 2)
    target = Fraction(1, 100) if gif else tick
    stream: Any = output.add_stream(
        codec, Fraction(fps).limit_denominator(1001), options | ({} if gif else {"crf": str(crf)})
    )
    stream.width, stream.height, stream.pix_fmt = width + odd[1], height + odd[0], "pal8" if gif else "yuv420p"
    stream.codec_context.time_base = target
    stream.codec_context.flags |= int(Flags.bitexact) | int(Flags.frame_duration)
    if not gif:
        stream.color_primaries = stream.color_trc = stream.colorspace = stream.color_range = 1  # BT.709, limited range
    convert = _palette(width, height) if gif else _to_yuv()
    for array, (pts, length) in zip(chain([first], frames), stamps, strict=False):
        even = np.pad(array, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        frame = convert(VideoFrame.from_ndarray(even, "rgb24"))
        frame.time_base, frame.pts = target, round(pts * tick / target)
        frame.duration = round((pts + length) * tick / target) - frame.pts
        yield float(pts * tick), stream.encode(frame)
    yield inf, stream.encode(None)


def _to_yuv() -> Callable[[VideoFrame], VideoFrame]:
    scaler = VideoReformatter()
    colour: Any = {
        "dst_colorspace": Colorspace.ITU709,
        "dst_color_range": "MPEG",
        "interpolation": EXACT | Interpolation.BICUBIC,
    }
    return lambda frame: scaler.reformat(frame, format="yuv420p", threads=1, **colour)


def _palette(width: int, height: int) -> Callable[[VideoFrame], VideoFrame]:
    """Every frame gets a palette of its own, so that none has to wait for the last one."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=Fraction(1, 100))
    split, palette, use = (graph.add(*what) for what in _PALETTE)
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()

    def convert(frame: VideoFrame) -> VideoFrame:
        graph.vpush(frame)
        return graph.vpull()

    return convert


def _sound(output: OutputContainer, source: Source) -> Packets:
    """The first sound track of the source; what has to be encoded anew becomes mono or stereo."""
    with av.open(str(source.path.absolute())) as container, suppress(av.FFmpegError):
        track, origin = container.streams.audio[0], Fraction(container.start_time or 0, av.time_base)
        target: Any
        items: Iterable[Any]
        try:
            target, items = output.add_stream_from_template(track), container.demux(track)
        except ValueError:
            codec, rate = ("libopus", 48000) if output.format.name == "webm" else ("aac", track.rate)
            layout = "mono" if track.channels == 1 else "stereo"
            target, items = output.add_stream(codec, rate, layout=layout), container.decode(track)
        for item in items:
            if item.pts is not None and item.time_base is not None:
                item.pts -= round(origin / item.time_base)
                due = float(item.pts * item.time_base)
                if isinstance(item, Packet):
                    item.dts, item.stream = item.pts, target
                yield due, [item] if isinstance(item, Packet) else target.encode(item)
        if target.codec_context:
            yield inf, target.encode(None)
