"""Checks of what makes and judges pictures: masks, cut-outs, swaps and their metrics."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import VswapError
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks.checking import check, expect
from vswap_kernel.types import PointEdit, Video

OVERLAP = 0.5  # intersection over union of masks, over the clip
BACKGROUND = 40.0  # dB outside both subjects, over the clip


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


def _psnr(video: Video, other: Video, where: Any) -> float:
    assert where.any(), "expected background outside both masks, got masks over all of it"
    error = np.mean((video.frames[where].astype(np.float64) - other.frames[where]) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-10)))
