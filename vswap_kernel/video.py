"""Reading video: whatever FFmpeg opens, and folders of pictures. Frames come as they are shown: upright, with square
pixels, in 8-bit RGB over black (see `vswap_kernel.pictures`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError
from vswap_kernel.pictures import PICTURES, ByteArray, Size, decode_image, natural_order, shown_size, to_mask, to_rgb
from vswap_kernel.types import Video


@dataclass(frozen=True, eq=False)
class Source:
    """An opened input, not yet decoded.

    Attributes:
        kind: "video" or "images".
        size: (width, height) in square pixels, upright.
        pts: int64 [T], when each frame is shown, in units of `time_base` seconds from the start of the file.
        end: when the last frame ends, in the same units.
        pictures: decodes the frames of a range; raises InputError at a damaged one.
        damage: one line on what is wrong with the end of the file, if anything; `pts` holds what is intact.
    """

    path: Path
    kind: str
    size: Size
    pts: NDArray[np.int64]
    end: int
    time_base: Fraction
    pictures: Callable[[range], Iterator[VideoFrame]]
    has_audio: bool = False
    damage: str = ""

    @property
    def frames(self) -> int:
        """The exact number of frames."""
        return len(self.pts)

    @property
    def times(self) -> NDArray[np.float64]:
        """When each frame is shown: float64 [T] seconds, not always evenly spaced."""
        return self.pts.astype(np.float64) * float(self.time_base)

    @property
    def fps(self) -> float:
        """The mean frame rate."""
        return float(self.frames / ((self.end - int(self.pts[0])) * self.time_base))


@dataclass(frozen=True)
class Selection:
    """Which frames are processed: `frames` of them (None: all there are), every `stride`-th from `start` on.

    They are scaled, up or down, to fit the box `size` (width, height) in pixels with their aspect kept.
    """

    start: int = 0
    frames: int | None = None
    stride: int = 1
    size: Size | None = None

    def indices(self, source: Source) -> range:
        """The numbers of the chosen frames. Raises InputError where the source hasn't got them."""
        for name, least in (("start", 0), ("frames", 1), ("stride", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise InputError(f"video.{name}: {value} is less than {least}")
        left, note = range(self.start, source.frames, self.stride), f"({source.damage or source.path})"
        if not left:
            raise InputError(
                f"video.start: {self.start} is beyond the end, the video has {source.frames} frames {note}"
            )
        if self.frames is None and source.damage:
            raise InputError(f"{source.damage}; set video.frames to {len(left)} or less, or repair the file")
        if self.frames is not None and self.frames > len(left):
            there = f"{len(left)} from {self.start} on with stride {self.stride}"
            raise InputError(f"video.frames: {self.frames} asked for, but there are {there} {note}")
        return left[: self.frames]


def open_source(path: Path, fps: float | None = None) -> Source:
    """Open a video, or a folder of pictures (naturally ordered, at `fps` or 24). Raises InputError if that can't be."""
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise InputError(f"{path}: neither a file nor a folder")
    if not path.is_dir():
        return _open_file(path)
    files = sorted((file for file in path.iterdir() if file.suffix.lower() in PICTURES), key=natural_order)
    if not files:
        raise InputError(f"{path}: there are no pictures in this folder ({', '.join(PICTURES)})")
    size, tick = shown_size(decode_image(files[0])), 1 / Fraction(fps or 24).limit_denominator(1001)

    def pictures(indices: range) -> Iterator[VideoFrame]:
        for file in (files[index] for index in indices):
            frame = decode_image(file)
            if shown_size(frame) != size:
                raise InputError(
                    f"{file}: its size is {shown_size(frame)}, but {files[0].name} has {size}; make them equal"
                )
            yield frame

    return Source(path, "images", size, np.arange(len(files)), len(files), tick, pictures)


Excerpt = Video | Facts
"""Both tell of an edited range: how many frames it has, and which ones of its source they are."""


def matching(companion: Source, excerpt: Excerpt) -> Selection:
    """The frames of `companion` (masks, an answer) that belong to an edited range: all of them when it has as many, or
    those of the range when it has as many as the whole source. Raises InputError where it has neither."""
    if companion.frames == len(excerpt):
        return Selection()
    if companion.frames == excerpt.source_frames:
        return Selection(excerpt.first, len(excerpt), excerpt.step)
    whole = f", or {excerpt.source_frames}, one for each frame of the source" if excerpt.source_frames else ""
    has = f"{companion.path}: it has {companion.frames} frames"
    raise InputError(f"{has}; give {len(excerpt)}, one for each edited frame{whole}")


def working_size(source: Source, selection: Selection) -> Size:
    """(width, height) in pixels of the frames that `read_frames` gives."""
    scale = min(box / side for box, side in zip(selection.size or source.size, source.size, strict=True))
    return max(1, round(source.size[0] * scale)), max(1, round(source.size[1] * scale))


def read_frames(source: Source, selection: Selection, chunk: int = 16) -> Iterator[ByteArray]:
    """The chosen frames, uint8 [n, H, W, 3] RGB, `chunk` at a time. Raises InputError where one is damaged."""
    return frames_at(source, selection.indices(source), working_size(source, selection), chunk)


def frames_at(source: Source, indices: range, size: Size, chunk: int = 16) -> Iterator[ByteArray]:
    """The frames at `indices`, scaled to `size` (width, height): uint8 [n, H, W, 3] RGB, `chunk` at a time."""
    scaler = VideoReformatter()
    return _stacked((to_rgb(frame, size, scaler) for frame in source.pictures(indices)), chunk)


def read_masks(path: Path, selection: Selection | None = None, chunk: int = 16) -> Iterator[ByteArray]:
    """Masks from a folder or video: uint8 [n, H, W], `chunk` at a time. Raises InputError as `read_frames` does.

    A mask is the brightest channel. If it holds one value besides 0 (0/1, one DAVIS colour), that becomes 255, and so
    does every colour but black of a palette. Then it is scaled, which leaves soft values at the edges.
    """
    source, selection = open_source(path), selection or Selection()
    size, scaler = working_size(source, selection), VideoReformatter()
    return _stacked((to_mask(frame, size, scaler) for frame in source.pictures(selection.indices(source))), chunk)


def _stacked(arrays: Iterator[ByteArray], chunk: int) -> Iterator[ByteArray]:
    while batch := list(islice(arrays, chunk)):
        yield np.stack(batch)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = av.open(str(path.absolute()), "r", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        what = "not a video, or cut off" if path.exists() else "no such file or folder"
        raise InputError(f"{path}: {what} ({error.strerror})") from error
    with container:
        videos = [s for s in container.streams.video if s.codec_context and s.disposition != Disposition.attached_pic]
        if not videos:
            raise InputError(f"{path}: has no video in it, or none of a known kind")
        videos[0].thread_type = ThreadType.AUTO
        yield container, videos[0]


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    decode: Callable[[Any], list[VideoFrame]] = stream.decode
    if stream.metadata.get("alpha_mode") == "1":  # FFmpeg's own decoders drop the alpha
        codec = av.Codec({"vp8": "libvpx"}.get(stream.codec.name, "libvpx-vp9"), "r")
        decode = cast(av.VideoCodecContext, av.CodecContext.create(codec, "r")).decode
    for packet in container.demux(stream):
        yield from decode(packet)


def _open_file(path: Path) -> Source:
    first = None
    with _opened(path) as (container, stream), suppress(av.FFmpegError):
        first = next(_decoded(container, stream), None)
    if first is None:
        raise InputError(f"{path}: has no frames in it, or the first one is damaged")
    with _opened(path) as (container, stream):
        stamps, last, damage = _scan(container, stream)
        size, has_audio = shown_size(first, stream.sample_aspect_ratio), bool(container.streams.audio)
        tick, rate = stream.time_base or Fraction(1, 90000), stream.average_rate or Fraction(24)
        origin = round((container.start_time or 0) / (av.time_base * tick))
    if not stamps:
        with _opened(path) as (container, stream), suppress(av.FFmpegError):
            stamps = [frame.pts for frame in _decoded(container, stream)]
    # AVI and bare streams have no presentation times: counting is all that is left.
    counted = None in stamps or stamps != sorted(set(stamps), key=lambda stamp: stamp or 0)
    if counted:
        stamps, tick, origin, last = range(len(stamps)), 1 / rate, 0, 1
    table = np.unique(np.array(stamps, np.int64))
    end = int(table[-1]) - origin + (last or max(1, round(1 / (rate * tick))))
    note = f"{path}: cut off or damaged, {len(table)} frames are intact" if damage else ""
    pictures = partial(_pictures, path, table, counted)
    return Source(path, "video", size, table - origin, end, tick, pictures, has_audio, note)


def _scan(container: InputContainer, stream: VideoStream) -> tuple[Sequence[int | None], int, bool]:
    """When each frame is shown (none if packets don't tell), how long the last one is, and if the file is damaged."""
    rows: list[tuple[int, int, int]] = []
    first: int | None = None  # what comes before the first key frame can't be decoded
    name, seen, reached = container.format.name, 0, 0.0
    trusted = name != "avi" and stream.codec.name != "vp8"  # made-up times; packets that are no frames
    with suppress(av.FFmpegError):
        for packet in container.demux():
            if packet.pts is not None:
                reached = max(reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index or not packet.size:
                continue
            if packet.is_corrupt:
                break
            first = packet.pts or 0 if first is None and packet.is_keyframe else first
            if not packet.is_discard:
                seen, trusted = seen + 1, trusted and packet.pts is not None
                if first is not None and (packet.pts or 0) >= first:
                    rows.append((packet.pts or 0, packet.dts or 0, packet.duration or 0))
    promised = sum(not entry.is_discard for entry in stream.index_entries) if "mp4" in name else 0
    damage = seen < promised or ("matroska" in name and (container.duration or 0) / av.time_base > reached + 1)
    if not (rows and trusted):
        return [], 0, damage
    # Where a file breaks off, only the frames up to the last decoding time are sure to have no gaps among them.
    limit = rows[-1][1] if damage else max(rows)[0]
    return sorted(pts for pts, _, _ in rows if pts <= limit), max(rows)[2], damage


def _pictures(path: Path, table: NDArray[np.int64], counted: bool, indices: range) -> Iterator[VideoFrame]:
    """Decode the frames at `indices`; `table` has the time of every frame, unless they are `counted`."""
    if not indices:
        return
    due, cause = indices.start, "frames are missing"
    with _opened(path) as (container, stream):
        if due > 200 and not counted:  # the margin is for files that are indexed by decoding time
            container.seek(int(table[due - 32]), stream=stream)
        try:
            for seen, frame in enumerate(_decoded(container, stream)):
                if due not in indices:
                    return
                at = seen if counted else int(np.searchsorted(table, frame.pts or 0))
                if at > due or (at == due and frame.is_corrupt):
                    break
                if at == due and (counted or table[at] == frame.pts):
                    yield frame
                    due += indices.step
        except av.FFmpegError as error:
            cause = str(error.strerror).lower()
    if due in indices:
        good = (due - indices.start) // indices.step
        advice = f"set video.frames to {good} or less" if good else "choose another video.start"
        raise InputError(f"{path}: damaged at frame {due} ({cause}); {advice}, or repair the file")
