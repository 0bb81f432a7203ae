"""One canonical on one clip: fitted once, then asked for each drag by itself, with the time that both take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.api import Context
from vswap_kernel.config import RunConfig
from vswap_kernel.errors import PluginError
from vswap_kernel.models import Models, lend
from vswap_kernel.plan import Stage
from vswap_kernel.protocols import Canonical
from vswap_kernel.types import DisplacementField, PointEdit, PointTracks
from vswap_toybox.clip import Clip
from vswap_toybox.evaluation.canonical.drags import Moves
from vswap_toybox.evaluation.canonical.figures import Carried

Note = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Task:
    """Attributes:
    config: the method's job. stages: of its run, by name.
    clip: what the job is of. moves: its points' new places on the keyframe.
    inputs: folder in which the clip's tracks and masks are kept by the key of their stage, so that methods share them.
    masks: whether the canonical is given them.
    """

    config: RunConfig
    stages: dict[str, Stage]
    clip: Clip
    moves: Moves
    inputs: Path
    masks: bool


def carry(task: Task, scratch: Path, note: Note) -> Carried:
    """Fit the job's canonical and carry each move by itself.

    A drag's time includes reading the fitted folder: it is asked of a canonical just made.

    Args:
        scratch: an empty folder.
        note: told what is at work.

    Raises:
        PluginError: what the canonical returns isn't what its protocol says.
        VswapError: whatever it, or the tracker, finds wrong.
    """
    tracks = _input(task, "tracks", scratch, note)
    masks = _input(task, "masks", scratch, note) if task.masks else None
    fitted = _folder(scratch / "fitted")
    fit = _made(task, scratch, note).fit
    start = time.perf_counter()
    fit(task.clip.video, masks, tracks, fitted)
    fit_seconds = time.perf_counter() - start
    fields, took = [], []
    for name, place in task.moves.items():
        propagate = _made(task, scratch, note).propagate
        start = time.perf_counter()
        field = propagate(fitted, tracks, PointEdit(task.clip.keyframe, {name: place}))
        took.append(time.perf_counter() - start)
        fields.append(_checked(task, field, tracks))
    index = [tracks.names.index(name) for name in task.moves]
    delta = np.stack([field.delta[:, i] for field, i in zip(fields, index, strict=True)], axis=1)
    valid = np.stack([field.valid[:, i] for field, i in zip(fields, index, strict=True)], axis=1)
    return Carried(delta, valid, fit_seconds, float(np.median(took)) * 1000)


def _made(task: Task, scratch: Path, note: Note) -> Canonical:
    """The canonical, as a run makes it."""
    chosen = task.config.families["canonical"]
    context = _context(task, scratch, "canonical", note)
    context = replace(context, components=Models(task.config.families, context))
    seed = context.seed if chosen.component.spec.seeded else 0
    made: Canonical = chosen.component.create(chosen.options, replace(lend(chosen.component, context), seed=seed))
    return made


def _context(task: Task, scratch: Path, name: str, note: Note) -> Context:
    settings = task.config.settings

    def progress(done: int, total: int, text: str = "") -> None:
        note(f"{name} {done}/{total} {text}".rstrip())

    folder = _folder(scratch / f"work-{name}")
    return Context(folder, settings.device, settings.dtype, settings.seed, progress)


def _input(task: Task, name: str, scratch: Path, note: Note) -> Any:
    """The clip's tracks or masks, as a run of the job makes them."""
    stage = task.stages[name]
    kept = task.inputs / stage.key
    if not kept.is_dir():
        context, out = _context(task, scratch, name, note), _folder(scratch / name)
        context = replace(context, components=Models(task.config.families, context))
        stage.work.run({"source": task.clip.video}, context, out)
        out.rename(kept)
    return stage.work.load(kept)


def _checked(task: Task, field: Any, tracks: PointTracks) -> DisplacementField:
    what = f"canonical {task.config.families['canonical'].name!r}"
    if not isinstance(field, DisplacementField):
        raise PluginError(f"{what} returned {type(field).__name__}, expected DisplacementField")
    if field.names != tracks.names or len(field) != len(tracks):
        wanted = f"expected {len(tracks.names)}, named as the tracks, in {len(tracks)} frames"
        raise PluginError(f"{what} returned {len(field.names)} points in {len(field)} frames, {wanted}")
    if not np.isfinite(field.delta).all():
        raise PluginError(f"{what} returned displacements that are not finite; give hidden points their best guess")
    return field


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
