"""What a swap did to the pixels that it had no business with."""

from __future__ import annotations

import numpy as np

from vswap_kernel.api import Context, NoOptions
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import BoolArray, Measurement
from vswap_metrics.quality import RegionQuality, windows_within

_CHUNK = 16


class Background:
    """PSNR and SSIM outside the union of the old and the new subject's masks (mask > 0), before encoding.

    Values:
        background_psnr: dB over all outside pixels of all frames, at most 100 (identical, or as good as).
        background_ssim: mean over the windows of 11x11 that see outside pixels only.
        background_changed: share of the outside pixels that differ at all.

    Curves: background_psnr and background_ssim per frame. NaN where the masks leave nothing.

    Without a masks component nobody knows where the old subject was: then only the new subject is left out, and pixels
    of the removed old one count as changed background. That can only lower the values.
    """

    def __init__(self, options: NoOptions, context: Context) -> None:
        self._context = context

    def measure(self, case: MetricCase, /) -> Measurement:
        """See the class; reads the videos in chunks."""
        total = len(case.source)
        quality = RegionQuality(total)
        for start, source in case.source.chunks(_CHUNK):
            stop = start + len(source)
            outside = _outside(case, start, stop)
            result = case.result.video.frames[start:stop]
            for offset in range(len(source)):
                region = outside[offset]
                quality.add(start + offset, source[offset], result[offset], region, windows_within(region))
            _release(case)
            self._context.progress(stop, total, "background")
        values = {
            "background_psnr": quality.psnr(),
            "background_ssim": quality.ssim(),
            "background_changed": quality.changed(),
        }
        return Measurement(values, {"background_psnr": quality.psnr_curve(), "background_ssim": quality.ssim_curve()})


def _outside(case: MetricCase, start: int, stop: int) -> BoolArray:
    """Where neither subject is: bool [n, H, W]."""
    outside: BoolArray = case.result.subject.frames[start:stop] == 0
    if case.masks is not None:
        np.logical_and(outside, case.masks.frames[start:stop] == 0, out=outside)
    return outside


def _release(case: MetricCase) -> None:
    case.result.video.release()
    case.result.subject.release()
    if case.masks is not None:
        case.masks.release()
