"""Runs trackers on clips; rows that are finished are kept, so that a killed evaluation goes on."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vswap_evaluation.rows import keep_row, kept_row
from vswap_kernel.encode import write_png
from vswap_kernel.errors import InputError
from vswap_kernel.types import Video
from vswap_trackers.evaluation.clips import Clip, resized
from vswap_trackers.evaluation.contenders import Contender
from vswap_trackers.evaluation.metrics import PCK_SHARES, REVISION, THRESHOLDS, rounded
from vswap_trackers.evaluation.overlays import strip
from vswap_trackers.evaluation.tracking import Measured, Trial, TrialError, measure
from vswap_trackers.evaluation.truth import Questions, Truth, ask, judge, rescaled

FIGURES = (*(f"pck@{share}" for share in PCK_SHARES), "aj", "delta_avg", "oa", "points_frames_per_s", "peak_mb")
DETAILS = tuple(f"{kind}@{threshold}" for kind in ("delta", "jaccard") for threshold in THRESHOLDS)
Row = dict[str, Any]
"""A value or None for each of FIGURES and DETAILS; points, frames, seconds; overlay, a path within the out folder;
error, a line or None."""


@dataclass(frozen=True)
class Evaluation:
    """What is asked for: which trackers on which clips, in which query mode, and the folder of all that is written.

    size: (width, height) in pixels of the frames that trackers are given; None: each clip's own.
    """

    data: Path
    clips: Sequence[Clip]
    contenders: Sequence[Contender]
    mode: str
    out: Path
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Step:
    """How far it is: `done` of `total` rows, and what is at work; `row` is the one that is new, if one is; `note` is a
    line about a tracker that is left out."""

    done: float
    total: int
    what: str
    row: Row | None = None
    note: str = ""


def evaluate(asked: Evaluation, tell: Callable[[Step], None]) -> dict[str, dict[str, Row]]:
    """Track and judge: rows by tracker and clip.

    A tracker that fails is a row with its error, and is tried again next time; one that wasn't asked for and can't be
    made here is left out.

    Raises:
        InputError: a clip that can't be read, or the out folder can't be written.
    """
    try:
        (asked.out / "rows").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {asked.out}: can't be written ({error.strerror}); choose another folder") from None
    rows: dict[str, dict[str, Row]] = {contender.name: {} for contender in asked.contenders}
    keys = {contender.name: contender.key() for contender in asked.contenders}
    for clip in asked.clips:
        tell(_step(asked, rows, f"{clip.name}: decoding"))
        with _Bench(asked, clip) as bench:
            for contender in [each for each in asked.contenders if each.name in rows]:
                what = f"{clip.name} {contender.name}"
                progress = partial(_tell_part, tell, _step(asked, rows, what))
                try:
                    row = bench.row(contender, keys[contender.name], progress)
                except _NotMadeError as error:
                    del rows[contender.name]
                    tell(replace(_step(asked, rows, what), note=f"{contender.name}: {error}"))
                else:
                    rows[contender.name][clip.name] = row
                    tell(replace(_step(asked, rows, what), row=row))
    return rows


def _step(asked: Evaluation, rows: Mapping[str, Mapping[str, Row]], what: str) -> Step:
    return Step(sum(map(len, rows.values())), len(asked.clips) * len(rows), what)


def _tell_part(tell: Callable[[Step], None], step: Step, part: float) -> None:
    """`part` of the row that is at work is done."""
    tell(replace(step, done=step.done + part))


class _NotMadeError(Exception):
    """A tracker that nobody asked for can't be made here."""


class _Bench:
    """One clip, decoded into the scratch folder as long as it is needed."""

    def __init__(self, asked: Evaluation, clip: Clip) -> None:
        self._asked, self._clip = asked, clip
        self._scratch = asked.out / "scratch"

    def __enter__(self) -> _Bench:
        shutil.rmtree(self._scratch, ignore_errors=True)  # a killed evaluation leaves it
        (self._scratch / "video").mkdir(parents=True)
        loaded = self._clip.load()
        self._truth: Truth = loaded.truth
        self._video = Video.stream(loaded.chunks, self._scratch / "frames.safetensors", loaded.fps)
        if self._truth.xy.shape[0] != len(self._video) or self._truth.size != self._video.size:
            raise InputError(f"clip {self._clip.name!r}: its truth doesn't fit its frames in number or size")
        self._size = self._asked.size or self._video.size
        given = self._video
        if self._size != given.size:
            given = Video.stream(resized(given, self._size), self._scratch / "resized.safetensors", given.fps)
        given.save(self._scratch / "video")
        self._questions: Questions = ask(self._truth, self._asked.mode)
        self._digest = f"{self._video.digest()}-{self._truth.digest()}-{self._size}"
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def row(self, contender: Contender, key: str, progress: Callable[[float], None]) -> Row:
        """The tracker's row: the one kept, or else a new one."""
        key = hashlib.sha256(f"{REVISION} {self._asked.mode} {self._digest} {key}".encode()).hexdigest()
        stem = f"{_file_name(contender.name)}-{_file_name(self._clip.name)}-{key[:12]}"
        kept, picture = (self._asked.out / "rows" / f"{stem}.{suffix}" for suffix in ("json", "png"))
        if picture.is_file() and (row := kept_row(kept, key)) is not None:
            return row
        count, frames = len(self._questions.queries.names), len(self._video)
        row = dict.fromkeys((*FIGURES, *DETAILS)) | {"points": count, "frames": frames, "seconds": None}
        row |= {"overlay": None, "error": None}
        try:
            found = self._tracked(contender, progress)
        except TrialError as error:
            if not (error.made or contender.asked_for):
                raise _NotMadeError(str(error)) from None
            return row | {"error": str(error)}
        row |= rounded(judge(self._truth, self._questions, found.tracks, self._asked.mode))
        row |= {"seconds": round(found.seconds, 3), "overlay": f"rows/{picture.name}"}
        row["points_frames_per_s"] = round(count * frames / max(found.seconds, 1e-9), 1)
        row["peak_mb"] = None if found.peak_mb is None else round(found.peak_mb, 1)
        write_png(picture, strip(self._video, self._truth, self._questions, found.tracks))
        keep_row(kept, key, row)
        return row

    def _tracked(self, contender: Contender, progress: Callable[[float], None]) -> Measured:
        """What the tracker does on the frames that it is given, its tracks in pixels of the clip itself."""
        scratch, asked, own = self._scratch / "components", self._questions.queries, self._truth.size
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        queries = replace(asked, xy=rescaled(asked.xy, own, self._size))
        trial = Trial(contender.families, contender.settings, self._scratch / "video", queries, scratch)
        measured = measure(trial, lambda done, total: progress(min(done / max(total, 1), 1.0)))
        tracks = replace(measured.tracks, xy=rescaled(measured.tracks.xy, self._size, own), size=own)
        return replace(measured, tracks=tracks)


def _file_name(name: str) -> str:
    """A part of a file name; names of clips come from files that others wrote."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60]
