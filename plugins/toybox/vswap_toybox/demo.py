"""The clip of `vswap demo`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vswap_toybox.clip import Clip, make_clip
from vswap_toybox.motion import Motion
from vswap_toybox.scene import Scene
from vswap_toybox.subject import Subject

SIZE = (256, 192)
FRAMES = 32


def demo_clip() -> Clip:
    """A red car drives over a bumpy field while the camera follows it; the new subject is a striped fish.

    32 frames of 256x192. The car is of 50 to 56 % of the width, and all six points are seen in every frame.
    """
    time = np.linspace(0, 1, FRAMES)
    motion = Motion.of(
        FRAMES,
        x=-0.35 + 0.7 * time,
        y=-0.16 + 0.05 * np.sin(10 * time),
        rotation=0.1 * np.sin(10 * time + 1.2),
        scale=0.68 + 0.08 * time,
        phase=time,
        pan_x=-0.5 + time,
        view=1.05 - 0.1 * time,
    )
    scene = replace(Scene.sample(np.random.default_rng(11)), sky="day")
    return make_clip(Subject("car", "red", "white"), Subject("fish", "orange", "white", "striped"), scene, motion, SIZE)
