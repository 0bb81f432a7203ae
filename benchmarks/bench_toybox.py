"""Frames a second of the Toybox renderer: pytest benchmarks/bench_toybox.py (64 frames a round)."""

from __future__ import annotations

import numpy as np
import pytest

from vswap_toybox.motion import Motion
from vswap_toybox.rendering import render_chunks
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import CLASSES, Subject

FRAMES = 64


def rendered(subjects, scene, motion, side):
    return sum(len(part.frames) for subject in subjects for part in render_chunks(subject, scene, motion, (side, side)))


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("occluded", [False, True], ids=["open", "occluded"])
def test_render(benchmark, side, occluded):
    rng = np.random.default_rng(0)
    subjects = [Subject.sample(rng, name) for name in CLASSES]
    scene, motion = Scene.sample(rng), Motion.sample(rng, FRAMES)
    if occluded:
        scene = scene.occluded(Occluder.across(rng, motion))
    count = benchmark(rendered, subjects, scene, motion, side)
    benchmark.extra_info["frames_per_second"] = round(count / benchmark.stats.stats.median)
