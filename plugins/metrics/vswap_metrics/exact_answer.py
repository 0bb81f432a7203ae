"""How close a result is to the exact answer, where one is known: a rendered scene, or a benchmark's reference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import BoolArray, ByteArray, Measurement, Video
from vswap_kernel.video import Excerpt, matching, open_source, read_frames, read_masks
from vswap_metrics.quality import RegionQuality, whole_windows
from vswap_metrics.ratios import share, shares
from vswap_metrics.register import ExactAnswerOptions

_CHUNK = 16
_HALF = 128


class ExactAnswer:
    """PSNR, SSIM and mask IoU against the exact answer.

    Values:
        subject_psnr: dB where the subject is in the answer or in the result (either mask > 0), so that both a missing
            and a surplus piece cost; at most 100.
        subject_ssim: mean over the windows of 11x11 centred there (but for those that reach over the frame's edge).
        mask_iou: intersection over union of the two masks, both cut at half coverage, summed over all frames; 1 where
            neither video shows a subject. Not given without masks of the answer.
        frame_psnr: dB of whole frames.

    Curves: all of them per frame. Without masks of the answer, only the result's own mask says where the subject is: a
    result that draws nothing then isn't judged on the subject at all, so give them where they are known.
    """

    def __init__(self, options: ExactAnswerOptions, context: Context) -> None:
        self._options, self._context = options, context

    def measure(self, case: MetricCase, /) -> Measurement:
        """See the class; reads the videos in chunks.

        Raises:
            InputError: the answer can't be read, or differs in length or size from the result.
        """
        video, total = case.result.video, len(case.result.video)
        _check(self._options, case.source, video.size)
        subject, whole = RegionQuality(total), RegionQuality(total)
        shared, either = np.zeros(total, np.int64), np.zeros(total, np.int64)
        everywhere = np.ones(video.size[::-1], np.bool_)
        windows, none = whole_windows(video.size[::-1]), np.zeros_like(everywhere)
        for index, (answer, truth) in enumerate(self._answer(case.source)):
            result, drawn = video.frames[index], case.result.subject.frames[index]
            region: BoolArray = drawn > 0 if truth is None else (drawn > 0) | (truth > 0)
            subject.add(index, answer, result, region, region & windows)
            whole.add(index, answer, result, everywhere, none)
            if truth is not None:
                shared[index] = ((drawn >= _HALF) & (truth >= _HALF)).sum()
                either[index] = ((drawn >= _HALF) | (truth >= _HALF)).sum()
            if (index + 1) % _CHUNK == 0:
                video.release()
                case.result.subject.release()
                self._context.progress(index + 1, total, "exact-answer")
        return _measurement(subject, whole, (shared, either) if self._options.masks else None)

    def _answer(self, source: Video) -> Iterator[tuple[ByteArray, ByteArray | None]]:
        """Each frame uint8 [H, W, 3] of the answer, with its mask uint8 [H, W] if masks are given."""
        answer = open_source(self._options.video)
        chunks = read_frames(answer, matching(answer, source), _CHUNK)
        if self._options.masks is None:
            for frames in chunks:
                yield from zip(frames, repeat(None))
            return
        chosen = matching(open_source(self._options.masks), source)
        for frames, masks in zip(chunks, read_masks(self._options.masks, chosen, _CHUNK), strict=True):
            yield from zip(frames, masks, strict=True)


def _measurement(
    subject: RegionQuality, whole: RegionQuality, overlap: tuple[NDArray[np.int64], NDArray[np.int64]] | None
) -> Measurement:
    values = {"subject_psnr": subject.psnr(), "subject_ssim": subject.ssim(), "frame_psnr": whole.psnr()}
    series = {
        "subject_psnr": subject.psnr_curve(),
        "subject_ssim": subject.ssim_curve(),
        "frame_psnr": whole.psnr_curve(),
    }
    if overlap is not None:
        shared, either = overlap
        values["mask_iou"] = share(shared.sum(), either.sum()) if either.any() else 1.0
        series["mask_iou"] = shares(shared, either)
    return Measurement(values, series)


def preflight(options: ExactAnswerOptions, facts: Facts) -> None:
    """Check, before anything runs, that the answer fits the edited range.

    Raises:
        InputError: it can't be opened, or differs in length or size.
    """
    _check(options, facts, facts.size)


def _check(options: ExactAnswerOptions, excerpt: Excerpt, size: tuple[int, int]) -> None:
    for field, path in (("video", options.video), ("masks", options.masks)):
        if path is None:
            continue
        source = open_source(path)
        matching(source, excerpt)
        if source.size != size:
            got, wanted = ("x".join(map(str, pair)) for pair in (source.size, size))
            raise InputError(
                f"exact-answer.{field}: {path} is {got}, the result is {wanted}; give one of the same size"
            )
