"""Reading and writing video. Nearly every clip is made here, so that what should come out is known."""

import os
import re
import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vswap_kernel.encode import write_png, write_result, write_video
from vswap_kernel.errors import InputError
from vswap_kernel.pictures import encode_jpeg, encode_png, read_image
from vswap_kernel.video import Selection, open_source, read_frames, read_masks, working_size

SHARED = Path(os.environ.get("VSWAP_SHARED", Path(__file__).parents[3] / "shared"))
RATE = 25


def picture(index, width=64, height=48):
    """Smooth, with no symmetry, and another in every frame."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 40 + x * 160 // width, 200 - y * 160 // height, np.full_like(x, 30 + index * 4 % 200)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def pictures(count, width=64, height=48):
    return np.stack([picture(index, width, height) for index in range(count)])


def add_tone(container, codec):
    stream = container.add_stream(codec, rate=48000)
    stream.layout = "mono"
    return stream


def play_tone(container, stream, seconds):
    wave = (np.sin(np.arange(int(seconds * 48000)) * 0.06) * 0.3).astype(np.float32)
    for start in range(0, len(wave), 960):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 960], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make(path, frames, *, codec="libx264", layout="yuv420p", pts=None, sound=None, turn=None, aspect=None, **muxer):
    """Encode frames with PyAV alone; colour is BT.601 and untagged, as FFmpeg does by default."""
    options = {"crf": "4", "b": "0"} if "vpx" in codec else {"crf": "4"} if codec.startswith("lib") else {"b": "4M"}
    with av.open(str(path), "w", container_options=muxer) as container:
        stream = container.add_stream(codec, RATE, options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = layout
        tone = add_tone(container, sound) if sound else None
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, "rgba" if array.shape[2] == 4 else "rgb24").reformat(
                format=layout
            )
            frame.pts, frame.time_base = pts[index] if pts else index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            play_tone(container, tone, len(frames) / RATE)
    return path


def read(path, **selection):
    return np.concatenate(list(read_frames(open_source(path), Selection(**selection))))


def difference(a, b):
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def sound_of(path):
    """(codec name, packet bytes, decoded seconds)"""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        return stream.codec.name, packets, samples / stream.rate


@pytest.fixture
def clip(tmp_path):
    return make(tmp_path / "clip.mp4", pictures(50), sound="aac")


@pytest.mark.parametrize("name", ["c.mp4", "c.mov", "c.mkv", "c.avi", "mpeg4.avi", "c.ts", "c.h264"])
def test_a_clip_is_read_whole_whatever_its_container(tmp_path, name):
    frames = pictures(20)
    source = open_source(make(tmp_path / name, frames, codec="mpeg4" if "mpeg4" in name else "libx264"))
    assert (source.kind, source.size, source.frames) == ("video", (64, 48), 20)
    assert source.fps == pytest.approx(25, rel=1e-3)
    assert difference(read(tmp_path / name), frames) < 4


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_webm_is_read_whole(tmp_path, codec):
    frames = pictures(30)
    path = make(tmp_path / "c.webm", frames, codec=codec)
    assert open_source(path).frames == 30
    assert difference(read(path), frames) < 4


@pytest.mark.parametrize("selection", [{"start": 7, "frames": 9, "stride": 3}, {"start": 49}, {"stride": 20}])
def test_a_selection_gives_those_frames(clip, selection):
    chosen = Selection(**selection)
    expected = pictures(50)[chosen.indices(open_source(clip))]
    assert difference(read(clip, **selection), expected) < 2


def test_a_start_far_in_gives_the_same_frames_as_reading_from_the_beginning(tmp_path):
    path = make(tmp_path / "long.mp4", pictures(330))
    assert np.array_equal(read(path, start=281, frames=20), read(path)[281:301])


def test_chunks_have_the_asked_length(clip):
    lengths = [len(chunk) for chunk in read_frames(open_source(clip), Selection(), chunk=16)]
    assert lengths == [16, 16, 16, 2]


@pytest.mark.parametrize(("box", "size"), [((32, 32), (32, 24)), ((500, 96), (128, 96)), (None, (64, 48))])
def test_frames_fit_the_box_with_their_aspect_kept(clip, box, size):
    assert working_size(open_source(clip), Selection(size=box)) == size
    got = read(clip, frames=1, size=box)
    assert got.shape == (1, size[1], size[0], 3)
    assert difference(got[0], picture(0, *size)) < 4


def test_every_frame_of_a_variable_rate_keeps_its_time(tmp_path):
    pts = [0, 1, 5, 6, 20, 21, 22, 30]
    source = open_source(make(tmp_path / "c.mp4", pictures(8), pts=pts))
    assert source.times == pytest.approx(np.array(pts) / RATE, abs=1e-6)
    edited = [np.zeros((2, 48, 64, 3), np.uint8)]
    for suffix in (".mp4", ".webm", ".gif"):
        write_result(tmp_path / f"out{suffix}", source, Selection(start=2, frames=2), edited)
        assert open_source(tmp_path / f"out{suffix}").times == pytest.approx(source.times, abs=1e-3)


def test_frames_that_an_edit_list_cuts_off_are_neither_counted_nor_shown(tmp_path):
    source = open_source(make(tmp_path / "c.mp4", pictures(30), pts=list(range(-5, 25))))
    assert (source.frames, source.times[0], source.damage) == (25, 0, "")
    assert difference(read(tmp_path / "c.mp4"), pictures(30)[5:]) < 2


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_picture_that_starts_after_the_sound_still_does_in_the_result(tmp_path, suffix):
    source = open_source(make(tmp_path / "c.mp4", pictures(10), pts=list(range(8, 18)), sound="aac"))
    assert source.times[0] == pytest.approx(8 / RATE, abs=1e-3)
    write_result(tmp_path / f"out{suffix}", source, Selection(frames=2), [pictures(2)])
    assert open_source(tmp_path / f"out{suffix}").times == pytest.approx(source.times, abs=1e-3)


def test_odd_sizes_are_read_exactly_and_padded_to_even_ones_in_h264(tmp_path):
    frames = pictures(3, 63, 47)
    write_video(tmp_path / "c", [frames], 25)
    source = open_source(tmp_path / "c", fps=25)
    assert np.array_equal(read(tmp_path / "c"), frames)
    write_result(tmp_path / "c.mp4", source, Selection(), [frames])
    got = read(tmp_path / "c.mp4")
    assert got.shape == (3, 48, 64, 3)
    assert difference(got[:, :47, :63], frames) < 2
    assert difference(got[:, 47, :63], frames[:, 46]) < 4
    make(tmp_path / "odd.mp4", frames, layout="yuv444p")
    assert difference(read(tmp_path / "odd.mp4"), frames) < 2


@pytest.mark.parametrize("turn", [(90, False), (180, False), (-90, False), (0, True), (90, True)])
def test_rotated_and_mirrored_clips_come_out_upright(tmp_path, turn):
    upright = pictures(2)
    stored = np.flip(upright, 2) if turn[1] else upright
    stored = np.rot90(stored, -turn[0] // 90, (1, 2))
    path = make(tmp_path / "c.mp4", np.ascontiguousarray(stored), turn=turn)
    assert open_source(path).size == (64, 48)
    assert difference(read(path), upright) < 2


def test_oblong_pixels_become_square(tmp_path):
    path = make(tmp_path / "c.mp4", pictures(2), aspect=Fraction(3, 2))
    assert open_source(path).size == (96, 48)
    assert difference(read(path)[0], picture(0, 96, 48)) < 3


def test_ten_bits_are_read(tmp_path):
    path = make(tmp_path / "c.mp4", pictures(5), layout="yuv420p10le")
    assert difference(read(path), pictures(5)) < 2


def test_the_colour_matrix_of_the_file_is_used(tmp_path):
    frames = pictures(3)
    write_video(tmp_path / "c.mp4", [frames], 25, crf=4)
    with av.open(str(tmp_path / "c.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)
        wrong = frame.to_ndarray(format="rgb24", src_colorspace="ITU601")
    assert difference(read(tmp_path / "c.mp4"), frames) < 1.5 < 2 * 1.5 < difference(wrong, frames[0])


@pytest.mark.parametrize("kind", ["png", "webm", "gif"])
def test_transparency_is_laid_over_black(tmp_path, kind):
    alpha = np.zeros((4, 48, 64, 1), np.uint8)
    alpha[:, 8:40, 8:40] = 255
    rgba = np.concatenate([pictures(4), alpha], 3)
    if kind == "png":
        for index, frame in enumerate(rgba):
            write_png(tmp_path / f"c/{index}.png", frame)
        path = tmp_path / "c"
    elif kind == "webm":
        path = make(tmp_path / "c.webm", rgba, codec="libvpx-vp9", layout="yuva420p")
    else:
        path = tmp_path / "c.gif"
        path.write_bytes(transparent_gif(alpha[0, :, :, 0] > 0))
        rgba = np.where(alpha[:1] > 0, np.array([200, 60, 20, 255], np.uint8), np.uint8(0))
    got = read(path)
    expected = rgba[..., :3] * (rgba[..., 3:] > 0)
    assert difference(got, expected) < 3
    assert got[:, 44:, 44:].max() <= 2


def transparent_gif(mask):
    """A GIF89a of one frame: colour 1 inside the mask, the transparent colour 0 outside. Uncompressed LZW codes."""
    height, width = mask.shape
    codes = [code for pixel in mask.ravel().tolist() for code in (4, int(pixel))] + [
        5
    ]  # 4 clears, so codes stay 3 bits
    bits = sum(code << (3 * place) for place, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    palette = bytes([255, 255, 255, 200, 60, 20]) + bytes(6)
    screen = struct.pack("<HH", width, height) + b"\x91\0\0" + palette
    control = b"\x21\xf9\x04\x01\x0a\0\0\0"
    image = b"\x2c" + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x02" + blocks + b"\0"
    return b"GIF89a" + screen + control + image + b"\x3b"


def test_gif_is_written_and_read(tmp_path):
    frames = pictures(12)
    write_video(tmp_path / "c.gif", [frames], 12.5)
    source = open_source(tmp_path / "c.gif")
    assert (source.frames, source.size) == (12, (64, 48))
    assert source.fps == pytest.approx(12.5)
    assert difference(read(tmp_path / "c.gif"), frames) < 4


def test_a_folder_is_read_in_natural_order_at_its_rate(tmp_path):
    for index in range(12):
        write_png(tmp_path / f"c/frame{index}.png", picture(index))
    (tmp_path / "c/notes.txt").write_text("not a picture")
    source = open_source(tmp_path / "c", fps=12)
    assert (source.kind, source.frames, source.fps, source.has_audio) == ("images", 12, 12, False)
    assert open_source(tmp_path / "c").fps == 24
    assert np.array_equal(read(tmp_path / "c"), pictures(12))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".gif", ""])
def test_a_result_has_the_edit_in_its_range_and_the_source_elsewhere(tmp_path, clip, suffix):
    source, edited = open_source(clip), np.full((10, 48, 64, 3), (180, 40, 60), np.uint8)
    path = tmp_path / f"out{suffix}"
    write_result(path, source, Selection(start=20, frames=10), [edited[:4], edited[4:]])
    result, got = open_source(path, fps=RATE), read(path)
    assert difference(got[20:30], edited) < 3
    assert difference(np.delete(got, range(20, 30), 0), np.delete(read(clip), range(20, 30), 0)) < 3
    assert result.times == pytest.approx(source.times)
    assert result.end * result.time_base == source.end * source.time_base
    assert result.has_audio == (suffix not in (".gif", ""))
    assert [file.name for file in tmp_path.iterdir() if file.name not in ("clip.mp4", path.name)] == []


def test_sound_is_copied_packet_by_packet(tmp_path, clip):
    write_result(tmp_path / "out.mp4", open_source(clip), Selection(frames=1), [pictures(1)])
    codec, packets, seconds = sound_of(tmp_path / "out.mp4")
    assert (codec, packets) == ("aac", sound_of(clip)[1])
    assert seconds == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("before", "sound", "after", "codec"), [("c.mp4", "aac", ".webm", "opus"), ("c.avi", "pcm_mulaw", ".mp4", "aac")]
)
def test_sound_that_the_format_cannot_hold_is_encoded_anew(tmp_path, before, sound, after, codec):
    source = open_source(make(tmp_path / before, pictures(50), sound=sound))
    write_result(tmp_path / f"out{after}", source, Selection(frames=1), [pictures(1)])
    got, _, seconds = sound_of(tmp_path / f"out{after}")
    assert (got, seconds) == (codec, pytest.approx(2, abs=0.08))


def test_a_stride_keeps_times_length_and_sound(tmp_path, clip):
    source = open_source(clip)
    edited = np.full((3, 48, 64, 3), 90, np.uint8)
    write_result(tmp_path / "out.mp4", source, Selection(start=10, frames=3, stride=4), [edited])
    result, got = open_source(tmp_path / "out.mp4"), read(tmp_path / "out.mp4")
    kept = np.arange(2, 50, 4)
    assert result.times == pytest.approx(source.times[kept])
    assert result.end * result.time_base == 2
    assert difference(got[2:5], edited) < 2
    assert difference(got[[0, 1, 5]], pictures(50)[[2, 6, 22]]) < 3
    assert sound_of(tmp_path / "out.mp4")[2] == pytest.approx(2, abs=0.05)


def test_without_the_rest_only_the_range_is_written_from_time_zero(tmp_path, clip):
    write_result(tmp_path / "o.mp4", open_source(clip), Selection(start=20, frames=5), [pictures(5)], keep_rest=False)
    result = open_source(tmp_path / "o.mp4")
    assert (result.frames, result.times[0], result.fps, result.has_audio) == (5, 0, 25, False)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_equal_input_makes_equal_bytes(tmp_path, clip, suffix):
    for name in "ab":
        write_result(tmp_path / f"{name}{suffix}", open_source(clip), Selection(frames=5), [pictures(5)])
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert encode_jpeg(picture(0)) == encode_jpeg(picture(0))


def test_edited_frames_of_another_count_or_size_are_refused(tmp_path, clip):
    source = open_source(clip)
    with pytest.raises(ValueError, match="2 edited frames for a selection of 3"):
        write_result(tmp_path / "out.mp4", source, Selection(frames=3), [pictures(2)])
    with pytest.raises(ValueError, match="shape"):
        write_result(tmp_path / "out.mp4", source, Selection(frames=3), [pictures(3, 32, 48)])
    assert list(tmp_path.iterdir()) == [clip]


def palette_png(indices, colours):
    """A PNG of colour type 3."""
    rows = b"".join(b"\0" + row.tobytes() for row in indices.astype(np.uint8))
    head = struct.pack(">IIBBBBB", indices.shape[1], indices.shape[0], 8, 3, 0, 0, 0)
    parts = [
        (b"IHDR", head),
        (b"PLTE", bytes(np.ravel(colours).tolist())),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    made = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


@pytest.mark.parametrize("kind", ["grey", "zero-one", "colour", "rgba", "palette", "jpeg"])
def test_masks_of_every_kind_become_0_and_255(tmp_path, kind):
    mask = np.zeros((48, 64), np.uint8)
    mask[16:32, 16:48] = 1
    colour = np.stack([mask * 128, mask * 0, mask * 0], 2)
    data = {
        "grey": encode_png(mask * 255),
        "zero-one": encode_png(mask),
        "colour": encode_png(colour),
        "rgba": encode_png(np.stack([mask * 0 + 255] * 3 + [mask * 255], 2)),
        "palette": palette_png(mask * (1 + np.arange(64, dtype=np.uint8) // 32), [0, 0, 0, 128, 0, 0, 0, 9, 0]),
        "jpeg": encode_jpeg(np.stack([mask * 255] * 3, 2)),
    }[kind]
    (tmp_path / "m").mkdir()
    for name in ("1", "2"):
        (tmp_path / f"m/{name}.{'jpg' if kind == 'jpeg' else 'png'}").write_bytes(data)
    (got,) = read_masks(tmp_path / "m")
    assert difference(got, np.stack([mask * 255] * 2)) <= (2 if kind == "jpeg" else 0)
    (small,) = read_masks(tmp_path / "m", Selection(frames=1, size=(32, 24)))
    assert small.shape == (1, 24, 32)
    assert difference(small[0], mask[::2, ::2] * 255) < 3


def test_soft_masks_and_empty_ones_stay_as_they_are(tmp_path):
    soft = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    write_png(tmp_path / "m/0.png", soft)
    write_png(tmp_path / "m/1.png", soft * 0)
    (got,) = read_masks(tmp_path / "m")
    assert np.array_equal(got, np.stack([soft, soft * 0]))


def test_pictures_come_back_as_they_were_written(tmp_path):
    rgba = np.concatenate([picture(3), np.arange(48, dtype=np.uint8)[:, None, None].repeat(64, 1)], 2)
    write_png(tmp_path / "a.png", rgba)
    assert np.array_equal(read_image(tmp_path / "a.png"), rgba)
    write_png(tmp_path / "grey.png", rgba[..., 3])
    assert np.array_equal(read_image(tmp_path / "grey.png")[..., 0], rgba[..., 3])
    (tmp_path / "50%.jpg").write_bytes(encode_jpeg(picture(3)))
    assert difference(read_image(tmp_path / "50%.jpg")[..., :3], picture(3)) < 2


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_a_clip_that_breaks_off_works_before_the_damage_and_is_an_error_beyond(tmp_path):
    path = cut(make(tmp_path / "c.mp4", pictures(50), movflags="+faststart"), 0.6)
    source = open_source(path)
    assert 10 < source.frames < 45
    with pytest.raises(
        InputError, match=rf"c.mp4: cut off or damaged, {source.frames} frames .* video.frames to {source.frames}"
    ):
        Selection().indices(source)
    with pytest.raises(InputError, match="cut off"):
        Selection(frames=50).indices(source)
    assert difference(read(path, frames=source.frames), pictures(source.frames)) < 2
    assert "cut off" in open_source(cut(make(tmp_path / "c.webm", pictures(50), codec="libvpx-vp9"), 0.4)).damage


def test_damage_in_the_middle_names_the_frame_and_spares_what_lies_before(tmp_path, caplog):
    path = make(tmp_path / "c.mp4", pictures(50), movflags="+faststart")
    data = bytearray(path.read_bytes())
    middle = int(len(data) * 0.6)
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"c.mp4: damaged at frame \d+ .*; set video.frames to \d+ or less") as caught:
        read(path)
    good = int(re.search(r"video.frames to (\d+)", str(caught.value))[1])
    assert difference(read(path, frames=good), pictures(good)) < 2
    write_result(tmp_path / "out.mp4", open_source(path), Selection(frames=5), [pictures(5)])
    assert open_source(tmp_path / "out.mp4").frames == good
    assert "damaged at frame" in caplog.text


def no_pictures(folder):
    (folder / "in").mkdir()
    (folder / "in/readme.txt").write_text("nothing here")


def unreadable_picture(folder):
    (folder / "in").mkdir()
    (folder / "in/1.png").write_bytes(encode_png(picture(0))[:60])


def unequal_pictures(folder):
    write_png(folder / "in/1.png", picture(0))
    write_png(folder / "in/2.png", picture(0, 32, 32))


def only_sound(folder):
    with av.open(str(folder / "in"), "w", format="mp4") as container:
        play_tone(container, add_tone(container, "aac"), 1)


BAD = {
    "no such file": lambda folder: None,
    "there are no pictures": no_pictures,
    "can't be read as a picture": unreadable_picture,
    "make them equal": unequal_pictures,
    "not a video": lambda folder: (folder / "in").write_text("just a text\n" * 100),
    "not a video, or cut off": lambda folder: cut(make(folder / "c.mp4", pictures(50)), 0.6).rename(folder / "in"),
    "has no video in it": only_sound,
    "has no frames|not a video": lambda folder: (folder / "in").write_bytes(b""),
}


@pytest.mark.parametrize("message", list(BAD))
def test_bad_input_is_one_clear_line(tmp_path, message):
    BAD[message](tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "in")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "in") in str(caught.value)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"start": 90}, "video.start: 90 is beyond the end, the video has 50 frames"),
        ({"start": 40, "frames": 11}, "video.frames: 11 asked for, but there are 10 from 40 on"),
        ({"frames": 14, "stride": 4}, "video.frames: 14 asked for, but there are 13"),
        ({"start": -1}, "video.start: -1 is less than 0"),
        ({"stride": 0}, "video.stride: 0 is less than 1"),
        ({"frames": 0}, "video.frames: 0 is less than 1"),
    ],
)
def test_a_selection_that_does_not_fit_is_one_clear_line(clip, selection, message):
    with pytest.raises(InputError, match=message):
        Selection(**selection).indices(open_source(clip))


def test_what_cannot_be_written_is_one_clear_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    write_png(tmp_path / "mine/holiday.png", picture(0))
    for path, message in [
        ("file/out.mp4", "can't be written"),
        ("out.xyz", r"\.xyz can't be written"),
        ("mine", "other"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            write_video(tmp_path / path, [pictures(2)], 25)
        assert str(tmp_path / path) in str(caught.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "mine"]
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["holiday.png"]


def test_an_interrupted_result_leaves_the_old_one(tmp_path):
    write_video(tmp_path / "out.mp4", [pictures(3)], 25)
    before = (tmp_path / "out.mp4").read_bytes()

    def broken():
        yield pictures(3)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_video(tmp_path / "out.mp4", broken(), 25)
    assert (tmp_path / "out.mp4").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    write_video(tmp_path / "pngs", [pictures(3)], 25)
    write_video(tmp_path / "pngs", [pictures(2)], 25)
    assert open_source(tmp_path / "pngs").frames == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path):
    block = np.zeros((16, 240, 320, 3), np.uint8)
    write_video(tmp_path / "c.mp4", (block + index for index in range(50)), 25, crf=40)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    sizes = [resident() for _ in read_frames(open_source(tmp_path / "c.mp4"), Selection())]
    assert len(sizes) == 50
    assert max(sizes[10:]) - sizes[9] < 20  # all the frames are 176 MiB


@pytest.mark.parametrize(("name", "frames", "size"), [("wolf.mp4", 40, (512, 512)), ("moonwalk.mp4", 63, None)])
def test_real_clips_are_read_and_rewritten(tmp_path, name, frames, size):
    path = SHARED / "clips" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    source = open_source(path)
    assert source.frames == frames
    assert size in (None, source.size)
    chosen = Selection(size=(128, 128))
    got = np.concatenate(list(read_frames(source, chosen)))
    write_result(tmp_path / "out.mp4", source, chosen, [got])
    assert difference(read(tmp_path / "out.mp4")[:, : got.shape[1], : got.shape[2]], got) < 4
    assert open_source(tmp_path / "out.mp4").times == pytest.approx(source.times, abs=1e-4)


def test_a_real_folder_and_its_masks_fit_each_other():
    folder = SHARED / "clips/blackswan"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    chosen = Selection(start=10, frames=3, size=(214, 120))
    (masks,) = read_masks(folder / "masks", chosen)
    assert masks.shape == read(folder / "frames", start=10, frames=3, size=(214, 120)).shape[:3]
    assert masks.max() == 255
    assert 0.02 < (masks > 127).mean() < 0.5


def test_a_stride_beyond_the_end_of_a_long_clip_leaves_one_frame(tmp_path):
    frames = np.zeros((260, 16, 16, 3), np.uint8)
    write_video(tmp_path / "long.mp4", [frames], 24)
    source = open_source(tmp_path / "long.mp4")
    selection = Selection(0, None, 300)
    edited = list(read_frames(source, selection))
    assert len(edited[0]) == 1
    write_result(tmp_path / "result.mp4", source, selection, edited)
    assert open_source(tmp_path / "result.mp4").frames == 1


def test_what_is_neither_file_nor_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        open_source(tmp_path / "pipe.mp4")


def test_a_long_clip_is_written_with_the_same_bytes_every_time(shared, tmp_path):
    """With x264's macroblock tree, which is on by default, it isn't."""
    source = open_source(shared / "clips" / "car-turn" / "frames")
    frames = np.concatenate(list(read_frames(source, Selection(0, 40))))
    written = set()
    for _ in range(3):
        write_video(tmp_path / "clip.mp4", [frames], 24)
        written.add((tmp_path / "clip.mp4").read_bytes())
    assert len(written) == 1
