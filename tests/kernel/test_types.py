from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vswap_kernel.errors import StoreError
from vswap_kernel.types import (
    Artefact,
    Cutout,
    DisplacementField,
    Masks,
    Measurement,
    PointEmbeddings,
    PointQueries,
    PointTracks,
    SwapResult,
    Video,
)

FLOAT = np.float32
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)
TRACKS = PointTracks(
    ("a", "b"), RNG.random((5, 2, 2), FLOAT), RNG.random((5, 2)) > 0.5, RNG.random((5, 2), FLOAT), (8, 6)
)
EXAMPLES: list[Artefact] = [
    Video(FRAMES, 12.5),
    Masks(FRAMES[..., 0]),
    PointQueries(("a",), np.array([3], np.int32), np.array([[1, 2]], FLOAT)),
    TRACKS,
    PointEmbeddings(("a",), np.ones((1, 4), FLOAT), np.array([5], np.int32), np.ones((5, 1), bool), "colour"),
    DisplacementField(("a",), np.ones((5, 1, 2), FLOAT), np.ones((5, 1), bool)),
    SwapResult(Video(FRAMES, 12.5), Masks(FRAMES[..., 0])),
    Measurement({"psnr": 30.5, "nothing": float("nan")}, {"psnr": np.array([1, np.nan], FLOAT)}),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_what_is_saved_reads_back_the_same(example: Artefact, tmp_path: Path) -> None:
    example.save(tmp_path)
    assert type(example).load(tmp_path).digest() == example.digest()


def test_the_digest_sees_every_value() -> None:
    other = TRACKS.visible.copy()
    other[2, 1] = ~other[2, 1]
    assert PointTracks(TRACKS.names, TRACKS.xy, other, TRACKS.confidence, TRACKS.size).digest() != TRACKS.digest()
    assert PointTracks(("a", "c"), TRACKS.xy, TRACKS.visible, TRACKS.confidence, (8, 6)).digest() != TRACKS.digest()
    assert Video(FRAMES, 25).digest() != Video(FRAMES, 12.5).digest()


def test_wrong_shapes_are_told_with_the_shape_that_came() -> None:
    with pytest.raises(ValueError, match=r"Video.frames: expected uint8 \[\*, \*, \*, 3\], got uint8 \[5, 6, 8\]"):
        Video(FRAMES[..., 0], 10)
    with pytest.raises(ValueError, match=r"PointTracks.xy: expected float32 \[\*, 2, 2\], got float64 \[5, 2, 2\]"):
        PointTracks(("a", "b"), TRACKS.xy.astype(float), TRACKS.visible, TRACKS.confidence, (8, 6))
    with pytest.raises(ValueError, match="'a' more than once"):
        PointQueries(("a", "a"), np.zeros(2, np.int32), np.zeros((2, 2), FLOAT))
    with pytest.raises(ValueError, match="one mask a frame"):
        SwapResult(Video(FRAMES, 10), Masks(FRAMES[:4, ..., 0]))
    with pytest.raises(ValueError, match=r"Cutout.rgba: expected uint8"):
        Cutout(FRAMES[0], (), np.zeros((0, 2), FLOAT))


def test_positions_must_be_finite() -> None:
    xy = TRACKS.xy.copy()
    xy[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="visible=False"):
        PointTracks(TRACKS.names, xy, TRACKS.visible, TRACKS.confidence, TRACKS.size)


def test_a_streamed_video_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    video = Video.stream((FRAMES[i : i + 2] for i in range(0, 5, 2)), tmp_path / "v.safetensors", 12.5)
    np.testing.assert_array_equal(load_file(tmp_path / "v.safetensors")["frames"], FRAMES)
    assert video.digest() == Video(FRAMES, 12.5).digest()
    np.testing.assert_array_equal(np.concatenate([chunk for _, chunk in video.chunks(2)]), FRAMES)


def test_a_stored_video_is_not_copied_when_it_is_stored_again(tmp_path: Path) -> None:
    video = Video.stream([FRAMES], tmp_path / "v.safetensors", 10)
    (tmp_path / "again").mkdir()
    video.save(tmp_path / "again")
    assert (tmp_path / "again" / "frames.safetensors").stat().st_ino == (tmp_path / "v.safetensors").stat().st_ino


def test_chunks_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="after uint8"):
        Video.stream([FRAMES, FRAMES[:, :3]], tmp_path / "v.safetensors", 10)


@pytest.mark.parametrize("damage", [b"", b"\x10", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_is_a_store_error_not_a_crash(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"fps": 10}')
    (tmp_path / "frames.safetensors").write_bytes(damage)
    with pytest.raises(StoreError, match="not a readable safetensors file"):
        Video.load(tmp_path)


def test_a_subset_keeps_the_order_asked_for() -> None:
    subset = TRACKS.subset(["b", "a"])
    assert subset.names == ("b", "a")
    np.testing.assert_array_equal(subset.xy, TRACKS.xy[:, ::-1])


def test_undefined_numbers_become_null_in_json() -> None:
    assert Measurement({"x": float("inf")}, {"y": np.array([np.nan, 1], FLOAT)}).as_json() == {
        "values": {"x": None},
        "series": {"y": [None, 1.0]},
    }
