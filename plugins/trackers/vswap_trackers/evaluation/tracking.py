"""One tracker on one clip, in a process of its own, so that its memory is measured and its crash is only a row.

Memory is the peak of the process's resident set from before the tracker is made (with its packages and weights) until
it has tracked, less what was resident before. Frames that it has read from the mapped clip and not given back count.
Memory of an accelerator does not.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from vswap_evaluation.processes import end_with_parent
from vswap_kernel.api import Context
from vswap_kernel.config import Chosen
from vswap_kernel.errors import PluginError, VswapError
from vswap_kernel.models import Models, lend
from vswap_kernel.types import PointQueries, PointTracks, Video
from vswap_trackers.evaluation.contenders import Settings

Progress = Callable[[int, int], None]
_TELL_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Trial:
    """What the process is told.

    Attributes:
        families: the tracker, and what it is lent.
        settings: device, dtype, seed.
        video: folder of the saved video.
        queries: the points.
        scratch: an empty folder for the components' temporary files.
    """

    families: Mapping[str, Chosen]
    settings: Settings
    video: Path
    queries: PointQueries
    scratch: Path


@dataclass(frozen=True, eq=False)
class Measured:
    """The tracks, how long tracking took (without making the tracker), and the peak memory in MB (None: can't be told
    on this system)."""

    tracks: PointTracks
    seconds: float
    peak_mb: float | None


class TrialError(VswapError):
    """The tracker failed, or its process did. made: whether the tracker itself could be made."""

    def __init__(self, message: str, made: bool) -> None:
        super().__init__(message)
        self.made = made


def measure(trial: Trial, progress: Progress) -> Measured:
    """Track in a process of its own.

    Raises:
        TrialError: whatever went wrong there.
    """
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_alone, args=(trial, theirs), daemon=True)
    process.start()
    theirs.close()
    made = False
    try:
        while True:
            kind, *rest = ours.recv()
            if kind == "progress":
                progress(*rest)
            elif kind == "made":
                made = True
            elif kind == "failed":
                raise TrialError(rest[0], made)
            else:
                return Measured(*rest)
    except EOFError:
        process.join()
        killed = process.exitcode is not None and process.exitcode < 0
        how = f"was killed by signal {-(process.exitcode or 0)}" if killed else f"ended with {process.exitcode}"
        raise TrialError(f"its process {how}; perhaps it needs more memory than there is", made) from None
    finally:
        process.terminate()
        process.join()
        ours.close()


def _alone(trial: Trial, pipe: Connection) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    end_with_parent()
    sys.stdout.flush()
    os.dup2(2, 1)  # what a tracker prints must not get into the JSON
    try:
        measured = _track(trial, pipe)
        pipe.send(("done", measured.tracks, measured.seconds, measured.peak_mb))
    except BaseException as error:
        text = str(error) if isinstance(error, VswapError) else f"{type(error).__name__}: {error}"
        pipe.send(("failed", " ".join(text.split())))


def _track(trial: Trial, pipe: Connection) -> Measured:
    memory = _Memory()
    tracker = _make(trial, _teller(pipe))
    pipe.send(("made",))
    video = Video.load(trial.video)
    start = time.perf_counter()
    tracks = tracker.track(video, trial.queries)
    seconds = time.perf_counter() - start
    peak = memory.peak_mb()
    _check(tracks, video, trial)
    return Measured(tracks, seconds, peak)


class _Tracks(Protocol):
    def track(self, video: Video, queries: PointQueries, /) -> Any: ...


def _make(trial: Trial, progress: Callable[..., None]) -> _Tracks:
    """The tracker with what it is lent, as a run makes it."""
    settings = trial.settings
    context = Context(trial.scratch, settings.device, settings.dtype, settings.seed, progress)
    context = replace(context, components=Models(trial.families, context))
    chosen = trial.families["tracker"]
    seed = settings.seed if chosen.component.spec.seeded else 0
    tracker: _Tracks = chosen.component.create(chosen.options, replace(lend(chosen.component, context), seed=seed))
    return tracker


def _check(tracks: Any, video: Video, trial: Trial) -> None:
    what, names = trial.families["tracker"].name, trial.queries.names
    if not isinstance(tracks, PointTracks):
        raise PluginError(f"tracker {what!r} returned {type(tracks).__name__}, expected PointTracks")
    got, wanted = (len(tracks), tracks.size, tracks.names), (len(video), video.size, names)
    if got != wanted:
        raise PluginError(
            f"tracker {what!r} returned {len(tracks.names)} points in {len(tracks)} frames of {tracks.size}, "
            f"expected {len(names)} points, named as the queries, in {len(video)} frames of {video.size}"
        )


def _teller(pipe: Connection) -> Callable[..., None]:
    last = 0.0

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > _TELL_EVERY:
            last = time.monotonic()
            pipe.send(("progress", done, total))

    return tell


class _Memory:
    """The process's peak resident memory from here on.

    `getrusage` won't do on Linux: there a process starts with the peak of the one that started it.
    """

    def __init__(self) -> None:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
        self._before = self._read("VmRSS")

    def peak_mb(self) -> float | None:
        """MB (of 1e6 bytes) above what was resident at the start; None where the system has no /proc."""
        after = self._read("VmHWM")
        return None if after is None or self._before is None else max(0.0, (after - self._before) / 1e6)

    @staticmethod
    def _read(field: str) -> int | None:
        try:
            found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        except OSError:
            return None
        return int(found[1]) * 1024 if found else None
