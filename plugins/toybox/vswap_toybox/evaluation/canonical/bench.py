"""One clip and its drags, and the canonicals tried on them; what is finished is kept in the clip's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vswap_evaluation.rows import keep_row, kept_row
from vswap_kernel.config import RunConfig, load_config
from vswap_kernel.encode import write_png
from vswap_kernel.errors import VswapError
from vswap_kernel.pictures import read_image
from vswap_kernel.plan import Stage, make_plan
from vswap_kernel.registry import Registry
from vswap_toybox.evaluation.canonical.carrying import Task, carry
from vswap_toybox.evaluation.canonical.figures import DETAILS, FIGURES, Carried, distances, figures
from vswap_toybox.evaluation.canonical.methods import TRUTH, overrides_of
from vswap_toybox.evaluation.canonical.pictures import drawn
from vswap_toybox.evaluation.canonical.suites import LENGTH, suite_clip
from vswap_toybox.evaluation.methods import Method
from vswap_toybox.evaluation.sheets import sheet
from vswap_toybox.writing import write_clip

REVISION = 1  # raise it when clips, drags or figures change, so that rows kept before aren't taken for new ones
Row = dict[str, Any]
"""clip, subject, scene, frames; a value or None for each of FIGURES and DETAILS; distances, the pixels of every visible
(frame, point); error, a line or None."""


@dataclass(frozen=True)
class Evaluation:
    """What is asked for: clips of a suite, the methods tried on each, and the folder of everything that is written.

    length: of the subject in pixels. tracks: "exact", or a tracker's name. masks: whether canonicals are given them.
    overrides: "field=value" of each job.
    """

    suite: str
    clips: int
    seed: int
    methods: Sequence[Method]
    out: Path
    tracks: str
    overrides: Sequence[str] = ()
    length: int = LENGTH
    masks: bool = True


@dataclass(frozen=True)
class Planned:
    """A method's checked job, the stages of its run by name, and the key of all that its row depends on."""

    config: RunConfig
    stages: dict[str, Stage]
    key: str


class Bench:
    """One clip, written as a job that moves all its points, and the methods tried on it."""

    def __init__(self, asked: Evaluation, index: int, registry: Registry) -> None:
        self._asked, self._index, self._registry = asked, index, registry
        self.clip, self.drags = suite_clip(asked.suite, asked.seed, index, asked.length)
        self._folder = asked.out / "clips" / f"{index:03d}"
        self._config = write_clip(self.clip, self._folder)
        for name in ("tracks", "inputs"):
            (self._folder / name).mkdir(exist_ok=True)
        self.clip.tracks.save(self._folder / "tracks")
        self._made: set[str] = set()

    def file(self, method: Method, kind: str, suffix: str) -> Path:
        """The method's file of that kind."""
        return self._folder / f"{kind}-{method.name}.{suffix}"

    def planned(self, method: Method) -> Planned:
        """The method's job for this clip, written beside it and checked."""
        job = method.job(self.clip, self._config, self.drags.moves)
        path = self.file(method, "job", "yaml")
        path.write_text(yaml.safe_dump(job, sort_keys=False, width=120))
        config = load_config(path, self._registry, overrides_of(method, self._asked.overrides, self._registry))
        stages = {stage.name: stage for stage in make_plan(config, self._registry).stages}
        key = f"{REVISION}-{stages['targets'].key}-{self.drags.digest()}-{config.settings.device}-{self._asked.masks}"
        return Planned(config, stages, key)

    def row(self, method: Method, note: Callable[[str], None]) -> Row:
        """The method's row: the one kept, or else a new one; `note` is told what is at work."""
        head: Row = {"clip": self._index, "subject": self.clip.subject.caption, "scene": self.clip.scene.caption}
        head["frames"] = len(self.clip.video)
        kept, picture = self.file(method, "row", "json"), self.file(method, "strip", "png")
        try:
            planned = self.planned(method)
            row = kept_row(kept, planned.key) if picture.is_file() else None
            if row is None:
                carried = self._carried(planned, note)
                row = figures(self.drags, carried) | {"distances": self._distances(carried), "error": None}
                write_png(picture, drawn(self.clip, self.drags, carried))
                keep_row(kept, planned.key, row)
            self._made.add(method.name)
            return head | row
        except Exception as error:
            text = str(error) if isinstance(error, VswapError) else f"{type(error).__name__}: {error}"
            return head | dict.fromkeys((*FIGURES, *DETAILS)) | {"distances": [], "error": " ".join(text.split())}

    def write_sheet(self) -> None:
        """Write the clip's contact sheet: the truth's arrows, and those of each method that has a row."""
        strips = {TRUTH: drawn(self.clip, self.drags)}
        for method in self._asked.methods:
            if method.name in self._made:
                strips[method.name] = read_image(self.file(method, "strip", "png"))[..., :3]
        folder = self._asked.out / "sheets"
        folder.mkdir(exist_ok=True)
        names = [TRUTH, *(method.name for method in self._asked.methods)]
        write_png(folder / f"{self._index:03d}.png", sheet(strips, names))

    def _carried(self, planned: Planned, note: Callable[[str], None]) -> Carried:
        scratch = self._asked.out / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)  # a killed evaluation leaves it
        scratch.mkdir(parents=True)
        try:
            inputs, masks = self._folder / "inputs", self._asked.masks
            task = Task(planned.config, planned.stages, self.clip, self.drags.moves, inputs, masks)
            return carry(task, scratch, note)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _distances(self, carried: Carried) -> list[float]:
        seen = distances(self.drags, carried.delta)[self.drags.visible]
        return [round(float(each), 3) for each in seen]
