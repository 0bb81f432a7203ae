"""One step of the layered atlas against one of the reference's, on the same clip; and a drag by the atlas against one
by `homography`: pytest benchmarks/bench_canonical.py.

The first 8 frames of car-turn (428x240) from `VSWAP_SHARED`, or a Toybox clip where that is missing. The two are run in
turn, so that the ratio holds on a machine that is busy with other things too. A step of ours looks at more pixels (6
frames, 36 rows of each) than one of the reference's (10,000).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vswap_canonical.atlas.clip import working_clip
from vswap_canonical.atlas.painting import paint
from vswap_canonical.atlas.start import started
from vswap_canonical.atlas.training import Material, Weights, step_loss
from vswap_canonical.homography import Homography
from vswap_canonical.layered_atlas import LayeredAtlas
from vswap_canonical.reference.losses import ReferenceClip
from vswap_canonical.reference.networks import FULL_SIZE, ReferenceNetworks
from vswap_canonical.reference.training import ReferenceTraining
from vswap_canonical.register import HomographyOptions, LayeredAtlasOptions
from vswap_kernel.api import Context
from vswap_kernel.types import Masks, PointEdit, PointTracks, Video
from vswap_toybox.cases import CASES

FRAMES, ROUNDS, BATCH = 8, 3, 10_000
SHARED = Path(os.environ.get("VSWAP_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="module")
def material() -> tuple[Video, Masks, PointTracks]:
    folder = SHARED / "clips" / "car-turn"
    if not folder.is_dir():
        case = CASES["camera-pan"]()
        return case.video, case.masks, case.tracks
    names = [f"{index:05}" for index in range(FRAMES)]
    frames = np.stack([cv2.imread(str(folder / "frames" / f"{name}.jpg"))[..., ::-1] for name in names])
    masks = np.stack([cv2.imread(str(folder / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in names])
    corners = np.array([[355, 112], [398, 112], [398, 148], [355, 148]], np.float32)
    seen = np.ones((FRAMES, 4), bool)
    tracks = PointTracks(tuple("abcd"), np.tile(corners, (FRAMES, 1, 1)), seen, seen.astype(np.float32), (428, 240))
    return Video(frames, 24.0), Masks(masks), tracks


def compared(benchmark, ours, theirs) -> None:
    taken = []

    def run_theirs() -> None:
        start = time.perf_counter()
        theirs()
        taken.append(time.perf_counter() - start)

    benchmark.pedantic(ours, setup=run_theirs, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["times_as_fast"] = round(float(np.median(taken)) / benchmark.stats.stats.median, 2)


def test_a_step_against_one_of_the_reference(benchmark, material):
    video, masks, tracks = material
    clip = working_clip(video, masks, tracks, 240, lambda done, total: None)
    atlas = started(clip)
    paint(atlas, clip.frames, (2.0, 1.5))
    tensors, optimiser = Material.of(clip, "cpu"), torch.optim.Adam(atlas.parameters(), lr=1e-4)
    soft = np.asarray(masks.frames, np.float32) / np.float32(255)
    reference = ReferenceTraining(ReferenceNetworks(FULL_SIZE), ReferenceClip.of(clip.frames, soft, clip.flow, "cpu"))
    generator = torch.Generator().manual_seed(0)
    count, height, width = clip.subject.shape
    samples = torch.stack([torch.randint(size, (BATCH,), generator=generator) for size in (width, height, count)])

    def step() -> None:
        optimiser.zero_grad()
        step_loss(atlas, tensors, Weights(), generator).backward()
        optimiser.step()

    compared(benchmark, step, lambda: reference.step(samples))


def test_a_drag_against_homography(benchmark, material, tmp_path):
    video, masks, tracks = material
    atlas = LayeredAtlas(LayeredAtlasOptions(iterations=0, registrations=0), Context(tmp_path))
    homography = Homography(HomographyOptions(), Context(tmp_path))
    atlas.fit(video, masks, tracks, tmp_path)
    x, y = (tracks.xy[0, 0] + (3, -9)).tolist()
    edit = PointEdit(0, {tracks.names[0]: (x, y)})
    compared(
        benchmark,
        lambda: atlas.propagate(tmp_path, tracks, edit),
        lambda: homography.propagate(tmp_path, tracks, edit),
    )
