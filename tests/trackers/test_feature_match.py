"""`feature-match` on features that a test can see through: the colours of 4x4 cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vswap_kernel.api import Context
from vswap_kernel.errors import ConfigError, InputError
from vswap_kernel.registry import Registry
from vswap_kernel.types import ByteArray, PointQueries, PointTracks, Video
from vswap_trackers.feature_match import FeatureMatch
from vswap_trackers.register import FeatureMatchOptions

SIZE = (96, 64)
CELL = 4
START = np.array([[22.0, 18.0], [40.0, 18.0], [22.0, 36.0], [40.0, 36.0]], np.float32)
STEP = np.array([2.0, 1.0])


class CellColours:
    """An embedder whose features are each cell's mean colour less grey, and a constant that tells strong from weak."""

    def __init__(self) -> None:
        self.frames = 0

    def feature_maps(self, frames: ByteArray) -> torch.Tensor:
        self.frames += len(frames)
        pixels = torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2) - 128
        colours = torch.nn.functional.avg_pool2d(pixels, CELL)
        return torch.cat([colours, torch.full_like(colours[:, :1], 40)], 1)


def spots(frames: int) -> Video:
    """Four soft spots, red, green, blue and yellow, move by (2, 1) pixels a frame over grey."""
    colours = np.array([[120, -60, -60], [-60, 120, -60], [-60, -60, 120], [90, 90, -120]], np.float32)
    down, across = np.mgrid[: SIZE[1], : SIZE[0]]
    pictures = np.full((frames, SIZE[1], SIZE[0], 3), 128, np.float32)
    for t in range(frames):
        for place, colour in zip(START + t * STEP, colours, strict=True):
            near = np.exp(-((across - place[0]) ** 2 + (down - place[1]) ** 2) / 18)
            pictures[t] += near[..., None] * colour
    return Video(np.clip(pictures, 0, 255).astype(np.uint8), 12.0)


def queries(frame: int | list[int] = 0) -> PointQueries:
    numbers = np.full(4, frame, np.int32) if isinstance(frame, int) else np.array(frame, np.int32)
    return PointQueries(tuple("abcd"), numbers, (START + numbers[:, None] * STEP).astype(np.float32))


def track(video: Video, asked: PointQueries, source: CellColours | None = None, **options: float) -> PointTracks:
    context = Context(Path(), components={"embedder": source or CellColours()})
    return FeatureMatch(FeatureMatchOptions(**options), context).track(video, asked)


def truth(frames: int) -> np.ndarray:
    return START + np.arange(frames)[:, None, None] * STEP


def test_points_are_followed_to_a_part_of_a_cell() -> None:
    found = track(spots(12), queries())
    assert np.linalg.norm(found.xy - truth(12), axis=-1).max() < CELL / 2
    assert found.visible.all()


def test_points_of_different_keyframes_are_carried_both_ways_and_exact_on_theirs() -> None:
    asked = queries([0, 6, 11, 3])
    found = track(spots(12), asked)
    assert np.linalg.norm(found.xy - truth(12), axis=-1).max() < CELL / 2
    np.testing.assert_array_equal(found.xy[asked.frame, np.arange(4)], asked.xy)


def covered(video: Video, first: int, last: int) -> Video:
    frames = video.frames.copy()
    for t in range(first, last):
        x, y = (START[0] + t * STEP).round().astype(int)
        frames[t, y - 9 : y + 10, x - 9 : x + 10] = (128, 128, 128)
    return Video(frames, video.fps)


def test_a_covered_point_is_hidden_carried_by_the_others_and_found_again() -> None:
    found = track(covered(spots(16), 5, 10), queries())
    assert found.visible[:, 0].tolist() == [True] * 5 + [False] * 5 + [True] * 6
    assert np.linalg.norm(found.xy[5:10, 0] - truth(16)[5:10, 0], axis=-1).max() < CELL
    assert np.linalg.norm(found.xy[10:, 0] - truth(16)[10:, 0], axis=-1).max() < CELL / 2
    assert found.visible[:, 1:].all()


def test_a_point_is_found_in_a_wider_window_after_it_was_hidden() -> None:
    video = covered(spots(14), 4, 8)
    frames = video.frames.copy()
    frames[8:] = np.roll(frames[8:], 14, axis=2)  # everything jumped while the point was covered
    found = track(Video(frames, 12.0), queries(), window=10.0)
    after = truth(14)[8:, 0] + np.array([14, 0])
    assert np.linalg.norm(found.xy[8:, 0] - after, axis=-1).max() < CELL
    assert found.visible[8:, 0].all()


def test_no_side_of_a_keyframe_is_computed_that_has_no_frames() -> None:
    source = CellColours()
    track(spots(12), queries(), source)
    assert source.frames == 12


def test_one_frame_no_points_and_a_thousand_points_work() -> None:
    assert track(spots(1), queries()).visible.all()
    none = PointQueries((), np.zeros(0, np.int32), np.zeros((0, 2), np.float32))
    assert track(spots(3), none).xy.shape == (3, 0, 2)
    xy = np.random.default_rng(0).uniform(0, 60, (1000, 2)).astype(np.float32)
    many = track(spots(3), PointQueries(tuple(map(str, range(1000))), np.zeros(1000, np.int32), xy))
    assert np.isfinite(many.xy).all()


def test_the_same_again_gives_the_same_bytes_and_leaves_the_inputs_alone() -> None:
    video, asked = spots(6), queries()
    before = video.digest(), asked.digest()
    assert track(video, asked).digest() == track(video, asked).digest()
    assert (video.digest(), asked.digest()) == before


def test_a_point_that_leaves_the_frame_is_not_visible_there() -> None:
    found = track(spots(40), queries())
    outside = (found.xy > np.array(SIZE) - 0.5).any(-1)
    assert outside.any()
    assert not found.visible[outside].any()


def test_a_keyframe_beyond_the_end_is_refused() -> None:
    with pytest.raises(InputError, match="keyframe 5 is beyond the end"):
        track(spots(3), replace(queries(), frame=np.full(4, 5, np.int32)))


def test_it_needs_an_embedder_that_offers_feature_maps(tmp_path: Path) -> None:
    import yaml

    from vswap_kernel.config import load_config
    from vswap_kernel.plan import make_plan
    from vswap_toybox.clip import clip
    from vswap_toybox.writing import write_clip

    config = write_clip(clip(0, frames=2, size=(32, 32)), tmp_path)
    job = yaml.safe_load(config.read_text()) | {"tracker": {"name": "feature-match"}, "embedder": {"name": "position"}}
    config.write_text(yaml.safe_dump(job))
    registry = Registry.discover()
    with pytest.raises(ConfigError, match=r"tracker 'feature-match' .* needs an embedder that offers feature-maps"):
        make_plan(load_config(config, registry), registry)
