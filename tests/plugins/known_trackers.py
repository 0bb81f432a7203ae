"""Trackers whose figures, crashes and appetite are known beforehand."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

import numpy as np
from pydantic import Field

from vswap_kernel.api import ComponentSpec, Context, Options, hookimpl
from vswap_kernel.config import Chosen
from vswap_kernel.registry import Component
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.evaluation.contenders import Contender


class StillOptions(Options):
    shift: tuple[float, float] = Field((0.0, 0.0), description="pixels a frame")
    megabytes: int = Field(0, description="what it needs meanwhile")
    prints: str = ""
    wait: float = 0.0


class StillTracker:
    """Points move by one step a frame, away from their query."""

    def __init__(self, options: StillOptions, context: Context) -> None:
        self.options, self.context = options, context

    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        print(self.options.prints, end="")
        self.context.progress(1, 2)
        time.sleep(self.options.wait)
        held = np.ones(self.options.megabytes * 1_000_000, np.uint8)
        since = np.arange(len(video))[:, None, None] - queries.frame[:, None]
        xy = (queries.xy + since * np.array(self.options.shift)).astype(np.float32)
        visible = np.ones(xy.shape[:2], bool) & bool(held.size + 1)
        return PointTracks(queries.names, xy, visible, visible.astype(np.float32), video.size)


class Crashing(StillTracker):
    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Failing(StillTracker):
    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        raise RuntimeError("no\nluck")


class Unmakeable(StillTracker):
    def __init__(self, options: StillOptions, context: Context) -> None:
        raise OSError("weights: not downloaded")


class Forgetful(StillTracker):
    def track(self, video: Video, queries: PointQueries, /) -> PointTracks:
        return super().track(video, queries).subset(queries.names[:-1])


class Borrowing(StillTracker):
    """Moves by as much as the backbone that it is lent says."""

    def __init__(self, options: StillOptions, context: Context) -> None:
        super().__init__(options.model_copy(update={"shift": context.components["backbone"].shift}), context)


class Lent:
    def __init__(self, options: StillOptions, context: Context) -> None:
        self.shift = options.shift


def spec(name: str, **more: object) -> ComponentSpec:
    return ComponentSpec(name.lower(), f"known_trackers:{name}", StillOptions, **more)


def contender(name: str = "StillTracker", asked_for: bool = True, title: str = "", **options: object) -> Contender:
    chosen = Chosen(Component("tracker", spec(name), "test", "1"), StillOptions(**options))
    return Contender(title or name, {"tracker": chosen}, asked_for=asked_for)


@hookimpl
def vswap_trackers() -> Iterable[ComponentSpec]:
    yield spec("Borrowing", accepts={"backbone": ("moves",)})
    yield spec("Unmakeable", requires=("no_such_package",), install="pip install it")


@hookimpl
def vswap_backbones() -> Iterable[ComponentSpec]:
    yield spec("Lent", capabilities=("moves",))
