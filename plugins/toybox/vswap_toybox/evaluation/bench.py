"""One clip of a suite, and the methods tried on it; what is finished is kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from vswap_evaluation.rows import keep_row, kept_row, write_whole
from vswap_kernel.api import StageEvent
from vswap_kernel.config import load_config
from vswap_kernel.encode import write_png
from vswap_kernel.errors import InputError, VswapError
from vswap_kernel.pictures import read_image
from vswap_kernel.plan import make_plan
from vswap_kernel.registry import Registry
from vswap_kernel.run import run_config
from vswap_kernel.types import SwapResult, Video
from vswap_toybox.clip import Clip
from vswap_toybox.evaluation.methods import SOURCE, Method
from vswap_toybox.evaluation.scoring import FIGURES, Judge
from vswap_toybox.evaluation.sheets import sheet, strip
from vswap_toybox.evaluation.suites import SIZE, moves, suite_clip
from vswap_toybox.writing import write_clip

REVISION = 1  # raise it when clips or scores change, so that rows kept before aren't taken for new ones
Row = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What is asked for.

    Attributes:
        suite, clips, seed, size: which clips, and how large (width, height).
        methods: what is tried on each.
        out: folder of everything that is written.
        store: where the stages of the runs are kept.
        overrides: "field=value", as for `vswap run`, of every method's job.
        jobs: how many clips are worked on at once.
    """

    suite: str
    clips: int
    seed: int
    methods: Sequence[Method]
    out: Path
    store: Path
    overrides: Sequence[str] = ()
    size: tuple[int, int] = SIZE
    jobs: int = 1


def sheet_names(methods: Sequence[Method]) -> list[str]:
    """What the rows of a contact sheet are; the method `source` is its first row anyway."""
    return ["source", "answer", *(method.name for method in methods if method.name != SOURCE)]


class Bench:
    """One clip, written as a job, and the methods tried on it."""

    def __init__(self, asked: Evaluation, index: int, registry: Registry) -> None:
        self._asked, self._index, self._registry = asked, index, registry
        self.clip: Clip = suite_clip(asked.suite, asked.seed, index, asked.size)
        self._folder = asked.out / "clips" / f"{index:03d}"
        self._config = write_clip(self.clip, self._folder)
        self._made: set[str] = set()

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.clip, self._folder, self._registry)

    def file(self, method: Method, kind: str, suffix: str) -> Path:
        """The method's file of that kind."""
        return self._folder / f"{kind}-{method.name}.{suffix}"

    def plan_key(self, method: Method) -> str:
        """Names all that the method's result depends on; its job is written on the way."""
        if method.name == SOURCE:
            return f"{SOURCE}-{self.clip.video.digest()}-{self.clip.answer.digest()}"
        job = method.job(self.clip, self._config, moves(self._asked.suite, self.clip))
        path = self.file(method, "job", "yaml")
        path.write_text(yaml.safe_dump(job, sort_keys=False, width=120))
        plan = make_plan(load_config(path, self._registry, self._asked.overrides), self._registry)
        return f"{plan.key}-{self.clip.answer.digest()}"

    def row(self, method: Method, observer: Callable[[StageEvent], None]) -> Row:
        """The method's row: the one kept, or else a new one."""
        head = {"clip": self._index, "source": self.clip.subject.caption, "target": self.clip.target.caption}
        head["scene"] = self.clip.scene.caption
        kept, picture = self.file(method, "row", "json"), self.file(method, "strip", "png")
        try:
            key = f"{REVISION}-{self.plan_key(method)}"
            if (row := kept_row(kept, key)) is not None and picture.is_file():
                self._made.add(method.name)
                return head | row
            video, seconds = self._result(method, observer)
            figures = self._judge.figures(video) | {"seconds": seconds}
            row = {name: _plain(figures[name]) for name in FIGURES} | {"error": None}
            write_png(picture, strip(video.frames))
            keep_row(kept, key, row)
            self._made.add(method.name)
            return head | row
        except Exception as error:
            text = str(error) if isinstance(error, VswapError) else f"{type(error).__name__}: {error}"
            return head | dict.fromkeys(FIGURES) | {"error": " ".join(text.split())}

    def write_sheet(self) -> None:
        """Write the clip's contact sheet, of the methods that have a row."""
        strips = {"source": strip(self.clip.video.frames), "answer": strip(self.clip.answer.video.frames)}
        for method in self._asked.methods:
            if method.name in self._made and method.name != SOURCE:
                strips[method.name] = read_image(self.file(method, "strip", "png"))[..., :3]
        folder = self._asked.out / "sheets"
        folder.mkdir(exist_ok=True)
        write_png(folder / f"{self._index:03d}.png", sheet(strips, sheet_names(self._asked.methods)))

    def _result(self, method: Method, observer: Callable[[StageEvent], None]) -> tuple[Video, float]:
        """The method's video, and how long its stages took."""
        if method.name == SOURCE:
            return self.clip.video, 0.0
        folder = self._folder / f"run-{method.name}"
        asked = self._asked
        run_config(
            self.file(method, "job", "yaml"),
            overrides=asked.overrides,
            out=folder,
            store=asked.store,
            observer=observer,
            registry=self._registry,
        )
        video = SwapResult.load(folder / "stages" / "swap").video
        if video.frames.shape != self.clip.video.frames.shape:
            got = f"{len(video)} frames of {'x'.join(map(str, video.size))}"
            raise InputError(f"{method.name}: the result has {got}, unlike the clip; leave `video` to the evaluation")
        return video, self._seconds(folder)

    def _seconds(self, run: Path) -> float:
        """How long the stages of the run in that folder took, those shared with other methods of this clip included.

        NaN when the swap itself was found in the store and nobody here saw how long it took.
        """
        ledger = self._folder / "seconds.json"
        known: dict[str, float] = json.loads(ledger.read_text()) if ledger.is_file() else {}
        keys = {stage["stage"]: stage["key"] for stage in json.loads((run / "plan.json").read_text())}
        for line in (run / "events.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["kind"] == "done":
                known[keys[event["stage"]]] = event["seconds"]
        write_whole(ledger, json.dumps(known))
        took = [known.get(key, 0.0) for key in keys.values()]
        return sum(took) if keys["swap"] in known else float("nan")


def _plain(value: float) -> float | None:
    """A JSON value; rounded, for the last digits of a sum depend on the machine."""
    return round(float(value), 4) if isfinite(value) else None
