"""The network that is shipped, through its file: what it must be able to do anywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

from vswap_kernel.api import Context
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance
from vswap_kernel.types import PointQueries, Video
from vswap_toybox.clip import clip
from vswap_trackers.options_models import ToyTrackOptions
from vswap_trackers.toytrack import WEIGHTS, ToyTrack

# pixels, and the share of places whose visibility is told rightly; measured: see weights/README.md
PAN_MEDIAN, PAN_MEAN = 0.5, 0.6
TOYBOX_MEDIAN, TOYBOX_OCCLUSION = 0.8, 0.95


def track(tmp_path, video, queries, **options):
    return ToyTrack(ToyTrackOptions(**options), Context(tmp_path)).track(video, queries)


def texture(height, width, seed=0):
    """Smooth noise without any likeness to the Toybox: uint8 [height, width, 3]."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    spectrum = np.fft.rfft2(noise, axes=(0, 1))
    fall = 1 / (0.03 + np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)))
    smooth = np.fft.irfft2(spectrum * fall[..., None], (height, width), axes=(0, 1))
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def grid(count, low, high, frame=0):
    x, y = np.meshgrid(np.linspace(low[0], high[0], count), np.linspace(low[1], high[1], count))
    xy = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    return PointQueries(tuple(map(str, range(len(xy)))), np.full(len(xy), frame, np.int32), xy)


def test_the_file_is_small_enough_to_ship():
    assert WEIGHTS.stat().st_size < 5_000_000


def test_it_follows_a_panned_texture(tmp_path):
    ground, frames = texture(160, 260), 16
    # the camera moves right by 3 pixels a frame, and down by 1
    video = Video(np.stack([ground[t : t + 128, 3 * t : 3 * t + 192] for t in range(frames)]), 12.0)
    queries = grid(5, (70, 30), (170, 110))
    tracks = track(tmp_path, video, queries)
    truth = queries.xy - np.arange(frames)[:, None, None] * np.array([3, 1], np.float32)
    error = np.linalg.norm(tracks.xy - truth, axis=-1)
    assert np.median(error) < PAN_MEDIAN
    assert error.mean() < PAN_MEAN
    assert tracks.visible.mean() > 0.9


def test_points_of_a_toybox_clip_are_followed_through_an_occlusion(tmp_path):
    errors, right = [], []
    for seed in range(4):
        made = clip(seed, frames=16, occluder=True)
        tracks = track(tmp_path, made.video, made.queries)
        errors.append(np.linalg.norm(tracks.xy - made.tracks.xy, axis=-1)[made.tracks.visible])
        right.append((tracks.visible == made.tracks.visible).ravel())
    assert np.median(np.concatenate(errors)) < TOYBOX_MEDIAN
    assert np.concatenate(right).mean() > TOYBOX_OCCLUSION


def test_groups_of_points_answer_as_each_alone(tmp_path, monkeypatch):
    video = Video(np.stack([texture(64, 96)[:, t : t + 64] for t in range(6)]), 12.0)
    queries = grid(3, (10, 10), (50, 50), frame=2)
    together = track(tmp_path, video, queries, side=64)
    monkeypatch.setattr("vswap_trackers.toytrack._PLACES", 6 * 4)
    apart = track(tmp_path, video, queries, side=64)
    assert np.abs(together.xy - apart.xy).max() < 0.01
    assert np.array_equal(together.visible, apart.visible)


def test_a_long_narrow_video_is_shown_in_whole_cells(tmp_path):
    video = Video(np.stack([texture(40, 300)] * 3), 12.0)
    tracks = track(tmp_path, video, grid(2, (20, 10), (280, 30)), side=128)
    assert np.abs(tracks.xy - tracks.xy[0]).max() < 3


class TestToyTrack(TrackerConformance):
    component = "toytrack"

    def options_for(self, case: Case, folder: Path) -> dict[str, Any]:
        """The kit's own case, on which there are a thousand frames to track, at a quarter of the size."""
        return {"side": 64} if case.name == "patch" else {}
