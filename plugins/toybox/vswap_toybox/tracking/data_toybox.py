"""Toybox clips with exact tracks of many points, most of them with something that passes in front."""

from __future__ import annotations

import numpy as np
import torch

from vswap_toybox.motion import Motion
from vswap_toybox.rendering import render
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import Subject
from vswap_toybox.tracking.clips import TrackedClip
from vswap_toybox.tracking.dense_truth import dense_tracks

FIRST_SEED = 100_000
"""Of the clips trained on: evaluations use seeds below 1000."""
_POINTS = {"on_subject": 44, "on_occluders": 8, "on_ground": 38}


def toybox_clip(seed: int, frames: int, pixels: int) -> TrackedClip:
    """A random scene of `pixels` x `pixels`, its subject and its camera in motion; the named points come first."""
    rng = np.random.default_rng(seed)
    subject, scene, motion = Subject.sample(rng), Scene.sample(rng), Motion.sample(rng, frames)
    for _ in range(int(rng.choice((0, 1, 1, 2)))):
        scene = scene.occluded(*scene.occluders, Occluder.across(rng, motion))
    size = (pixels, pixels)
    made = render(subject, scene, motion, size)
    counts = _POINTS if scene.occluders else _POINTS | {"on_ground": _POINTS["on_ground"] + _POINTS["on_occluders"]}
    xy, visible = dense_tracks(rng, subject, scene, motion, size, **counts)
    frames_first = torch.from_numpy(made.frames).permute(0, 3, 1, 2).contiguous()
    return TrackedClip(frames_first, torch.from_numpy(xy), torch.from_numpy(visible))
