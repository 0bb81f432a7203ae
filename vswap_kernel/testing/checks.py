"""The checks: each takes (make, case, empty folder) and raises AssertionError with what was expected and what came."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import VswapError
from vswap_kernel.hooks import FAMILIES
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.types import Artefact, PointEdit, PointQueries, PointTracks, Video

TRACKING_ERROR = 4.0  # px, mean over where a point is visible both in truth and by the tracker
EDGE = 2.0  # px that a point must be outside before the kit calls it out of the frame
MOVE_ERROR = 1e-3  # px between a move asked for and the move made
OVERLAP = 0.5  # intersection over union of masks, over the clip
BACKGROUND = 40.0  # dB outside both subjects, over the clip
SHORT, LONG = 200, 1000  # frames; what grows with a clip has grown by the one, and what doesn't is there by the other
_RESET_PEAK = Path("/proc/self/clear_refs")

Check = Callable[[Maker, Case, Path], None]
CHECKS: dict[str, list[tuple[Check, bool, str]]] = {family: [] for family in FAMILIES}
"""By family: its checks, whether one case is enough, and the capability without which the check doesn't apply."""


def check(*families: str, once: bool = False, capability: str = "") -> Callable[[Check], Check]:
    """Decorator: a check of these families."""

    def register(run: Check) -> Check:
        for family in families:
            CHECKS[family].append((run, once, capability))
        return run

    return register


def expect(case: Case, holds: Any, wanted: str, got: object) -> None:
    """Raise AssertionError unless `holds`."""
    assert holds, f"case {case.name!r}: expected {wanted}; got {got}"


@check("tracker", "masks", "canonical", "swapper", "metrics", once=True)
def check_repeats(make: Maker, case: Case, scratch: Path) -> None:
    """Inputs stay as they were; the bytes are the same again, also for inputs mapped from the store, read-only."""
    before: dict[str, Any] = {name: x for name, x in vars(case).items() if isinstance(x, Artefact)}
    for name, value in before.items():
        (scratch / name).mkdir()
        value.save(scratch / name)
    stored = {name: type(x).load(scratch / name) for name, x in before.items()}
    first, second = (make.answer(case, scratch).digest() for _ in range(2))
    changed = [name for name, x in before.items() if x.digest() != stored[name].digest()]
    expect(case, not changed, "inputs left as they were", f"changed: {', '.join(changed)}")
    mapped = make.answer(replace(case, **stored), scratch).digest()
    got = f"digests {first[:8]}, {second[:8]} from a second component, {mapped[:8]} from stored inputs"
    expect(case, first == second == mapped, "the same bytes each time", got)


@check("canonical", "swapper", once=True)
def check_prepared_folder(make: Maker, case: Case, scratch: Path) -> None:
    """The prepared folder is only read, and serves again from another place."""
    folder = make.prepare(case, scratch)
    before, first, after = _contents(folder), make.answer(case, scratch, folder).digest(), _contents(folder)
    expect(case, before == after, "the prepared folder only read", "changed files in it")
    second = make.answer(case, scratch, folder.rename(scratch / "moved")).digest()
    expect(case, first == second, "the same bytes from the prepared folder moved elsewhere", "other bytes")


@check("tracker")
def check_tracker_shape(make: Maker, case: Case, scratch: Path) -> None:
    """Names, length, size and confidence are right, and each point is exact and visible on its keyframe."""
    _expect_fit(make.answer(case, scratch), case)


@check("tracker", once=True)
def check_tracker_extremes(make: Maker, case: Case, scratch: Path) -> None:
    """The same for a video of one frame, for no points, and for a thousand."""
    for frames, count in ((1, 10), (len(case.video), 0), (len(case.video), 1000)):
        xy = np.random.default_rng(0).random((count, 2), np.float32) * (np.array(case.video.size, np.float32) - 1)
        queries = PointQueries(tuple(map(str, range(count))), np.zeros(count, np.int32), xy)
        asked = replace(case, video=Video(case.video.frames[:frames], case.video.fps), queries=queries)
        _expect_fit(make.answer(asked, scratch), asked)


@check("tracker", once=True)
def check_tracker_flat_memory(make: Maker, case: Case, scratch: Path) -> None:
    """A thousand frames take hardly more memory than two hundred: neither copies of all frames are kept, nor their
    pages (see `Video.release`). Measured where Linux tells the peak of a process."""
    frames, peaks = case.video.frames.repeat(2, axis=1).repeat(2, axis=2), []
    queries = replace(case.queries, xy=case.queries.xy * 2)
    for count in (SHORT, LONG) if _RESET_PEAK.exists() else ():
        chunks = (frames[t % len(frames)][None] for t in range(count))
        video = Video.stream(chunks, scratch / f"{count}.safetensors", case.video.fps)
        before = _settled()
        _expect_fit(make.answer(asked := replace(case, video=video, queries=queries), scratch), asked)
        peaks.append(_memory("VmHWM:") - before)
    more, allowed = (peaks[-1] - peaks[0]) / 1e6 if peaks else 0, (LONG - SHORT) * frames[0].nbytes / 4e6
    wanted = f"at most {allowed:.0f} MB more for {LONG} frames than for {SHORT}, a quarter of the frames themselves"
    expect(case, more <= allowed, wanted, f"{more:.0f} MB more")


@check("tracker")
def check_tracker_accuracy(make: Maker, case: Case, scratch: Path) -> None:
    """At least half of what is truly visible is called visible, and that is near the truth."""
    _expect_near(make.answer(case, scratch), case)


@check("tracker")
def check_tracker_any_keyframe(make: Maker, case: Case, scratch: Path) -> None:
    """The same when each point has its own keyframe, the middle of the frames in which it is seen."""
    seen = np.flatnonzero(case.tracks.visible.any(0))
    names = tuple(case.tracks.names[point] for point in seen)
    keyframes = np.array([np.flatnonzero(x)[x.sum() // 2] for x in case.tracks.visible.T[seen]], np.int32)
    asked = replace(case, queries=PointQueries(names, keyframes, case.tracks.xy[keyframes, seen]))
    tracks = make.answer(asked, scratch)
    _expect_fit(tracks, asked)
    _expect_near(tracks, asked)


@check("tracker")
def check_tracker_hidden(make: Maker, case: Case, scratch: Path) -> None:
    """Never visible out of the frame, by its own positions or by the truth; behind something, at most half the time."""
    tracks, out = make.answer(case, scratch), _outside(case.tracks, EDGE)
    for whose, outside in (("own", _outside(tracks, 0)), ("true", out)):
        wrong = [f"{tracks.names[point]!r} at frame {frame}" for frame, point in np.argwhere(tracks.visible & outside)]
        expect(case, not wrong, f"no point called visible where its {whose} position is out of the frame", wrong[:3])
    hidden = tracks.visible[~case.tracks.visible & ~out]
    expect(case, hidden.sum() <= hidden.size / 2, f"half of {hidden.size} hidden positions seen at most", hidden.sum())


@check("masks")
def check_masks_shape(make: Maker, case: Case, scratch: Path) -> None:
    """One mask a frame, of the video's size."""
    shape = make.answer(case, scratch).frames.shape
    expect(case, shape == case.masks.frames.shape, f"masks of shape {case.masks.frames.shape}", shape)


@check("masks")
def check_masks_overlap(make: Maker, case: Case, scratch: Path) -> None:
    """The masks cover the subject."""
    found, truth = make.answer(case, scratch).frames > 127, case.masks.frames > 127
    overlap = (found & truth).sum() / max((found | truth).sum(), 1)
    expect(case, overlap >= OVERLAP, f"intersection over union of at least {OVERLAP}", f"{overlap:.2f}")


@check("canonical")
def check_canonical_move(make: Maker, case: Case, scratch: Path) -> None:
    """On the edit's frame each point is moved as asked; the others stay; moved to where they are, all stay."""
    edit, field, names = case.edit or PointEdit(), make.answer(case, scratch), case.tracks.names
    same = field.names == names and len(field.delta) == len(case.tracks)
    expect(case, same, f"{len(case.tracks)} frames of {names}", f"{len(field.delta)} frames of {field.names}")
    places = {name: (float(x), float(y)) for name, (x, y) in zip(names, case.tracks.xy[edit.frame], strict=True)}
    wanted = np.subtract([edit.move.get(name, places[name]) for name in names], [*places.values()])
    error = abs(field.delta[edit.frame] - wanted).max()
    asked = f"{names} moved by {wanted.tolist()} on frame {edit.frame}"
    expect(case, error <= MOVE_ERROR, asked, f"up to {error:.3f} px off")
    others = [name for point, name in enumerate(names) if name not in edit.move and field.delta[:, point].any()]
    expect(case, not others, "points that aren't moved to stay", f"{others} displaced")
    still = PointEdit(edit.frame, {name: places[name] for name in edit.move})
    most = abs(make.answer(replace(case, edit=still), scratch).delta).max()
    expect(case, most <= MOVE_ERROR, "no displacement of points moved to where they are", f"{most:.3f} px")


@check("canonical", once=True)
def check_canonical_unknown_point(make: Maker, case: Case, scratch: Path) -> None:
    """An edit of a point that isn't tracked raises a VswapError that names it."""
    try:
        got = make.answer(replace(case, edit=PointEdit(0, {"no-such-point": (1.0, 1.0)})), scratch)
    except VswapError as error:
        got = str(error)
    expect(case, "no-such-point" in str(got), "a VswapError that names the unknown 'no-such-point'", got)


@check("concept", once=True, capability="cutout")
def check_concept_cutout(make: Maker, case: Case, scratch: Path) -> None:
    """Something opaque, something cut away, named points within the picture; and the same again."""
    cutout, again = make.answer(case, scratch), make.answer(case, scratch)
    same = np.array_equal(cutout.rgba, again.rgba) and np.array_equal(cutout.xy, again.xy)
    expect(case, same and cutout.names == again.names, "the same from a second concept made alike", "another cut-out")
    alpha, limit = cutout.rgba[..., 3], np.array(cutout.rgba.shape[1::-1]) - 0.5
    expect(case, alpha.max() > 127 > alpha.min(), "a subject cut out", f"alpha {alpha.min()}..{alpha.max()}")
    inside = ((cutout.xy >= -0.5) & (cutout.xy <= limit)).all()
    expect(case, cutout.names and inside, "points (x, y), all in the picture", cutout.xy.tolist())


@check("swapper")
def check_swapper_result(make: Maker, case: Case, scratch: Path) -> None:
    """Of the source's size, length and rate; its pixels outside both subjects; nearer to the exact answer than it."""
    result, source = make.answer(case, scratch), case.video
    shapes = f"{list(source.frames.shape)} at {source.fps}", f"{list(result.video.frames.shape)} at {result.video.fps}"
    expect(case, shapes[0] == shapes[1], *shapes)
    outside = (case.masks.frames == 0) & (result.subject.frames == 0)
    psnr = _psnr(result.video, source, outside)
    expect(case, psnr >= BACKGROUND, f"at least {BACKGROUND} dB outside both masks", f"{psnr:.1f} dB")
    if case.answer is not None:
        inside = (case.masks.frames > 0) | (case.answer.subject.frames > 0)
        before, after = (_psnr(video, case.answer.video, inside) for video in (source, result.video))
        expect(case, after > before, f"nearer to the answer than the source's {before:.1f} dB", f"{after:.1f} dB")


@check("swapper", once=True)
def check_swapper_with_less(make: Maker, case: Case, scratch: Path) -> None:
    """With one point, with none, or without masks, it works or raises a VswapError."""
    one, none = (replace(case, edit=PointEdit(drop=frozenset(case.tracks.names[count:]))) for count in (1, 0))
    unmasked = replace(case, **{"masks": None})  # type: ignore[arg-type]
    for what, less in {"one point": one, "no points": none, "no masks": unmasked}.items():
        with suppress(VswapError):
            shape = make.answer(less, scratch).video.frames.shape
            expect(case, shape == case.video.frames.shape, f"with {what}: {case.video.frames.shape}", shape)


@check("metrics")
def check_metrics_numbers(make: Maker, case: Case, scratch: Path) -> None:
    """Of an unchanged video, and of the exact answer: finite floats, and curves of the video's length."""
    for found in (make.answer(judged, scratch) for judged in (replace(case, answer=None), case)):
        fine = found.values and all(isinstance(x, float) and np.isfinite(x) for x in found.values.values())
        expect(case, fine, "finite floats, at least one", found.values)
        lengths = {name: len(curve) for name, curve in found.series.items()}
        expect(case, {*lengths.values()} <= {len(case.video)}, f"series of {len(case.video)} frames", lengths)


def _expect_fit(tracks: PointTracks, case: Case) -> None:
    queries, video, number = case.queries, case.video, np.arange(len(case.queries.names))
    wanted, got = (len(video), video.size, queries.names), (len(tracks), tracks.size, tracks.names)
    expect(case, wanted == got, f"(frames, (width, height), names) {wanted!s:.200}", f"{got!s:.200}")
    confidence = tracks.confidence[(tracks.confidence < 0) | (tracks.confidence > 1)]
    expect(case, not confidence.size, "confidence in 0..1", confidence[:3])
    start = tracks.xy[queries.frame, number]
    exact = f"points on their keyframes exactly at {queries.xy[:9].tolist()}"
    expect(case, np.array_equal(start, queries.xy), exact, start[:9].tolist())
    expect(case, tracks.visible[queries.frame, number].all(), "every point visible on its keyframe", "some hidden")


def _expect_near(tracks: PointTracks, case: Case) -> None:
    truth = case.tracks.subset(case.queries.names)
    both, share = truth.visible & tracks.visible, tracks.visible[truth.visible].mean()
    error = np.where(both, np.linalg.norm(tracks.xy - truth.xy, axis=-1), 0)
    frame, point = np.unravel_index(error.argmax(), error.shape)
    mean = error.sum() / both.sum()
    got = f"{mean:.2f} px (worst: {truth.names[point]!r} at frame {frame}, {error.max():.1f} px)"
    expect(case, mean <= TRACKING_ERROR, f"a mean error of at most {TRACKING_ERROR} px", got)
    expect(case, share >= 0.5, "half of the visible points called visible, at least", f"{share:.0%}")


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


def _outside(tracks: PointTracks, margin: float) -> Any:
    return ((tracks.xy < -0.5 - margin) | (tracks.xy > np.array(tracks.size) - 0.5 + margin)).any(-1)


def _psnr(video: Video, other: Video, where: Any) -> float:
    assert where.any(), "expected background outside both masks, got masks over all of it"
    error = np.mean((video.frames[where].astype(np.float64) - other.frames[where]) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
