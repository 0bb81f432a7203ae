"""The clips of `vswap demo`, and the jobs that swap their subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml

from vswap_toybox.clip import Clip, make_clip
from vswap_toybox.evaluation.methods import Method, read_method
from vswap_toybox.evaluation.suites import exact_moves
from vswap_toybox.motion import Motion
from vswap_toybox.scene import Scene
from vswap_toybox.subject import Subject
from vswap_toybox.training import world
from vswap_toybox.writing import write_clip

_HERE = Path(__file__).parent
SIZE = (256, 192)
FRAMES = 32


@dataclass(frozen=True)
class Demo:
    """Attributes:
    clip: makes its clip.
    jobs: by the names of their files, the methods that swap its subject, in the order in which to run them; without
        any, the clip's own job is it.
    dragged: the jobs whose points are dragged to where the answer has them.
    """

    clip: Callable[[], Clip]
    jobs: Mapping[str, Method] = field(default_factory=dict)
    dragged: frozenset[str] = frozenset()

    def write(self, folder: Path) -> tuple[Clip, list[Path]]:
        """Write the clip and its jobs into `folder`."""
        clip = self.clip()
        own = write_clip(clip, folder)
        base = yaml.safe_load(own.read_text())
        jobs = {
            name: method.job(clip, own, exact_moves(clip) if name in self.dragged else {})
            | {"metrics": base["metrics"]}
            for name, method in self.jobs.items()
        }
        for name, job in jobs.items():
            (folder / f"{name}.yaml").write_text(
                yaml.safe_dump(job, sort_keys=False, default_flow_style=None, width=120)
            )
        return clip, [folder / f"{name}.yaml" for name in jobs] or [own]


def demos() -> dict[str, Demo]:
    """By the name of the swapper."""
    drawn = {name: read_method(_HERE / "demos" / f"{name}.yaml") for name in ("swap", "again")}
    return {"point-diffusion": Demo(diffusion_clip, drawn, frozenset({"swap"})), "warp": Demo(demo_clip)}


def diffusion_clip() -> Clip:
    """A red car drives over a bumpy field; the new subject is a look that the Toybox model was never shown.

    16 frames of 64x64, what that model draws.
    """
    time = np.linspace(0, 1, 16)
    motion = Motion.of(
        16,
        x=-0.22 + 0.44 * time,
        y=-0.08 + 0.05 * np.sin(7 * time),
        rotation=0.14 * np.sin(7 * time + 1.2),
        scale=0.6 + 0.08 * time,
        phase=time,
        pan_x=-0.2 + 0.4 * time,
        view=1.03 - 0.06 * time,
    )
    scene = replace(Scene.sample(np.random.default_rng(14), detail=world.TEXTURE), sky="day")
    return make_clip(Subject("car", "red", "white"), world.CONCEPT, scene, motion, (64, 64))


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
