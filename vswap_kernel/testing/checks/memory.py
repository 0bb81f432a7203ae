"""Does a tracker's memory stay flat, however long the clip?"""

from __future__ import annotations

import ctypes
import gc
from dataclasses import replace
from pathlib import Path

import numpy as np

from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks.checking import check, expect
from vswap_kernel.testing.checks.tracking import expect_fit
from vswap_kernel.types import FloatArray, PointTracks, Video

SHORT, LONG = 200, 1000  # frames; what grows with a clip has grown by the one, and what doesn't is there by the other
_RESET_PEAK = Path("/proc/self/clear_refs")


@check("tracker", once=True)
def check_tracker_flat_memory(make: Maker, case: Case, scratch: Path) -> None:
    """A thousand frames take hardly more memory than two hundred: neither copies of all frames are kept, nor their
    pages (see `Video.release`). Measured where Linux tells the peak of a process."""
    allowed = (LONG - SHORT) * 4 * case.video.frames[0].nbytes / 4e6
    more = _growth(make, case, scratch)
    if more > allowed:
        # what else goes on in the process can add to a peak once; a tracker that keeps frames does so every time
        more = min(more, _growth(make, case, scratch))
    wanted = f"at most {allowed:.0f} MB more for {LONG} frames than for {SHORT}, a quarter of the frames themselves"
    expect(case, more <= allowed, wanted, f"{more:.0f} MB more")


def _growth(make: Maker, case: Case, scratch: Path) -> float:
    """By how many MB the peak of the long clip is above that of the short one; 0 where it can't be measured."""
    peaks = []
    for count in (SHORT, LONG) if _RESET_PEAK.exists() else ():
        asked = _repeated(case, count, scratch / f"{count}.safetensors")
        before = _settled()
        expect_fit(make.answer(asked, scratch), asked)
        peaks.append(_memory("VmHWM:") - before)
    return (peaks[-1] - peaks[0]) / 1e6 if peaks else 0.0


def _repeated(case: Case, count: int, path: Path) -> Case:
    """The case at twice its size, begun anew until it has `count` frames, which are stored at `path`."""
    frames, tracks, index = case.video.frames, case.tracks, np.arange(count) % len(case.video)
    chunks = (frames[t][None].repeat(2, axis=1).repeat(2, axis=2) for t in index)
    width, height = case.video.size
    return replace(
        case,
        video=Video.stream(chunks, path, case.video.fps),
        queries=replace(case.queries, xy=_doubled(case.queries.xy)),
        tracks=PointTracks(
            tracks.names,
            _doubled(tracks.xy[index]),
            tracks.visible[index],
            tracks.confidence[index],
            (2 * width, 2 * height),
        ),
    )


def _doubled(xy: FloatArray) -> FloatArray:
    """Pixels of a frame whose pixels became squares of two by two."""
    return (2 * xy + 0.5).astype(np.float32)


def _settled() -> int:
    """Bytes that this process holds once what earlier work left on the heap is given back; the peak begins anew."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    _RESET_PEAK.write_text("5")
    return _memory("VmRSS:")


def _memory(field: str) -> int:
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(field) + 1]) * 1024
