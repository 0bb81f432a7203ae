"""`lucas-kanade` against a plain loop of cv2.calcOpticalFlowPyrLK, and `dis-flow` against `lucas-kanade`, for few and
for many points: pytest benchmarks/bench_trackers.py.

Points on the subject of a real clip (428x240) from `VSWAP_SHARED`, or of a Toybox clip where that is missing. The two
are run in turn, so that the ratio holds on a machine that is busy with other things too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from vswap_kernel.api import Context
from vswap_kernel.types import PointQueries, Video
from vswap_toybox.cases import CASES
from vswap_trackers.dis_flow import DisFlow
from vswap_trackers.lucas_kanade import LucasKanade
from vswap_trackers.register import DisFlowOptions, LucasKanadeOptions

POINTS, ROUNDS = 16, 5
FLOW_FRAMES, FLOW_ROUNDS = 16, 3
SHARED = Path(os.environ.get("VSWAP_SHARED", Path(__file__).parents[2] / "shared"))


def load(name):
    folder = SHARED / "clips" / name
    if not folder.is_dir():
        case = CASES["camera-pan"]()
        return case.video, case.masks.frames[0] > 127
    frames = np.stack([cv2.imread(str(file))[..., ::-1] for file in sorted((folder / "frames").glob("*.jpg"))[:80]])
    return Video(frames, 24.0), cv2.imread(str(folder / "masks" / "00000.png"), cv2.IMREAD_GRAYSCALE) > 127


def points_on(subject, count):
    down, across = np.nonzero(subject)
    chosen = np.random.default_rng(0).choice(len(across), count, replace=False)
    xy = np.stack([across[chosen], down[chosen]], axis=1).astype(np.float32)
    return PointQueries(tuple(map(str, range(count))), np.zeros(count, np.int32), xy)


def plain_loop(video, queries):
    places = np.empty((len(video), POINTS, 2), np.float32)
    places[0] = queries.xy
    before = cv2.cvtColor(video.frames[0], cv2.COLOR_RGB2GRAY)
    for t in range(1, len(video)):
        after = cv2.cvtColor(video.frames[t], cv2.COLOR_RGB2GRAY)
        ahead, _, _ = cv2.calcOpticalFlowPyrLK(before, after, places[t - 1][:, None], None)
        places[t], before = ahead[:, 0], after
    return places


@pytest.mark.parametrize("clip", ["blackswan", "bear"])
def test_track_sixteen_points(benchmark, clip):
    video, subject = load(clip)
    queries = points_on(subject, POINTS)
    tracker = LucasKanade(LucasKanadeOptions(), Context(Path()))
    plain = []

    def time_plain():
        start = time.perf_counter()
        plain_loop(video, queries)
        plain.append(time.perf_counter() - start)

    benchmark.pedantic(tracker.track, (video, queries), setup=time_plain, rounds=ROUNDS, warmup_rounds=1)
    median = benchmark.stats.stats.median
    benchmark.extra_info["frames_per_second"] = round(len(video) / median)
    benchmark.extra_info["plain_frames_per_second"] = round(len(video) / float(np.median(plain)))
    benchmark.extra_info["times_plain"] = round(median / float(np.median(plain)), 2)


@pytest.mark.parametrize("count", [10, 1000])
def test_dense_flow_against_sparse_flow(benchmark, count):
    video, subject = load("bear")
    video, queries = Video(video.frames[:FLOW_FRAMES], video.fps), points_on(subject, count)
    dense, sparse = DisFlow(DisFlowOptions(), Context(Path())), LucasKanade(LucasKanadeOptions(), Context(Path()))
    taken = []

    def time_sparse():
        start = time.perf_counter()
        sparse.track(video, queries)
        taken.append(time.perf_counter() - start)

    benchmark.pedantic(dense.track, (video, queries), setup=time_sparse, rounds=FLOW_ROUNDS, warmup_rounds=1)
    median = benchmark.stats.stats.median
    benchmark.extra_info["frames_per_second"] = round(len(video) / median, 1)
    benchmark.extra_info["points_times_frames_per_second"] = round(len(video) * count / median)
    benchmark.extra_info["times_lucas_kanade"] = round(median / float(np.median(taken)), 2)
