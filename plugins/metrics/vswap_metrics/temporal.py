"""Temporal consistency without weights: how well optical flow carries each frame into the next."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vswap_kernel.api import Context, NoOptions
from vswap_kernel.protocols import MetricCase
from vswap_kernel.types import BoolArray, ByteArray, FloatArray, Measurement
from vswap_metrics.ratios import share, shares

_RELEASE_EVERY = 16


class Temporal:
    """Warp error after Lai et al. 2018, "Learning blind video temporal consistency", sec. 4.1.

    The frame before is carried along by dense optical flow (OpenCV's DIS, preset medium) and compared with the frame at
    hand: the mean absolute difference of RGB in levels of 0..255. Pixels that come into view, by the forward-backward
    check of Sundaram et al. 2010, are left out. Two departures from Lai: differences are absolute and not squared, and
    the flow is that of the judged video itself, for the new subject moves in ways that the source doesn't.

    Values:
        temporal_error: of the result.
        temporal_error_source: of the source, the level that noise, light and the flow's own mistakes make unavoidable.
        temporal_ratio: result over source, 1 is as steady as the source; NaN when the source has no error at all.
        temporal_subject: of the result where the new subject is (mask > 0); NaN when it is nowhere.
        temporal_checked: share of the result's pixels that passed the check. Wild flicker fails the check rather than
            raise the error, so read the error together with this.

    Curves: temporal_error, temporal_error_source, temporal_subject per frame, NaN in the first.
    """

    def __init__(self, options: NoOptions, context: Context) -> None:
        self._context = context

    def measure(self, case: MetricCase, /) -> Measurement:
        """See the class; holds two frames of each video at a time."""
        total = len(case.source)
        result, subject, source = WarpError(total), WarpError(total), WarpError(total)
        compare = Comparison()
        was, was_source = np.array(case.result.video.frames[0]), np.array(case.source.frames[0])
        for index in range(1, total):
            now, now_source = np.array(case.result.video.frames[index]), np.array(case.source.frames[index])
            difference, explained = compare(was, now)
            result.add(index, difference, explained)
            subject.add(index, difference, explained & (case.result.subject.frames[index] > 0))
            source.add(index, *compare(was_source, now_source))
            was, was_source = now, now_source
            if index % _RELEASE_EVERY == 0:
                for part in (case.source, case.result.video, case.result.subject):
                    part.release()
                self._context.progress(index, total, "temporal")
        values = {
            "temporal_error": result.mean(),
            "temporal_error_source": source.mean(),
            "temporal_ratio": share(result.mean(), source.mean()),
            "temporal_subject": subject.mean(),
            "temporal_checked": share(result.pixels.sum(), (total - 1) * case.source.frames[0, ..., 0].size),
        }
        parts = {"temporal_error": result, "temporal_error_source": source, "temporal_subject": subject}
        return Measurement(values, {name: part.curve() for name, part in parts.items()})


class WarpError:
    """A sum of differences over the pixels that count, frame by frame."""

    def __init__(self, frames: int) -> None:
        self.total = np.zeros(frames)
        self.pixels = np.zeros(frames, np.int64)

    def add(self, frame: int, difference: FloatArray, region: BoolArray) -> None:
        """Count `difference` float32 [H, W] where `region` bool [H, W]."""
        self.total[frame] = difference[region].sum(dtype=np.float64)
        self.pixels[frame] = region.sum()

    def mean(self) -> float:
        """Over all pixels; NaN when none counted."""
        return share(self.total.sum(), self.pixels.sum())

    def curve(self) -> FloatArray:
        """Per frame, float32 [T]; NaN where no pixel counted."""
        return shares(self.total, self.pixels)


class Comparison:
    """Compares a frame with the one before it, moved by optical flow."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, before: ByteArray, now: ByteArray) -> tuple[FloatArray, BoolArray]:
        """Where and how much `now` differs from `before` moved along.

        Args:
            before, now: uint8 [H, W, 3] RGB.

        Returns:
            The mean absolute difference of the three channels, float32 [H, W], and where it means something, bool
            [H, W]: pixels that were in `before` too, and were not covered there.
        """
        luma, luma_before = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (now, before))
        back, forth = self._flow.calc(luma, luma_before, None), self._flow.calc(luma_before, luma, None)  # type: ignore[call-overload]
        height, width = luma.shape
        x = np.arange(width, dtype=np.float32) + back[..., 0]
        y = np.arange(height, dtype=np.float32)[:, None] + back[..., 1]
        moved = cv2.remap(before.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return_trip = cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        difference = cv2.transform(cv2.absdiff(moved, now.astype(np.float32)), np.full((1, 3), 1 / 3))
        return difference.astype(np.float32, copy=False), inside & _agree(back, return_trip)


def _agree(back: NDArray[Any], forth: NDArray[Any]) -> BoolArray:
    """Sundaram, Brox and Keutzer 2010, eq. 5: |w + w'|^2 < 0.01 (|w|^2 + |w'|^2) + 0.5, bool [H, W]."""
    agrees: BoolArray = _squared_length(back + forth) < 0.01 * (_squared_length(back) + _squared_length(forth)) + 0.5
    return agrees


def _squared_length(flow: NDArray[Any]) -> NDArray[Any]:
    """|w|^2 of float32 [H, W, 2]: float32 [H, W]."""
    x, y = flow[..., 0], flow[..., 1]
    squared: NDArray[Any] = x * x + y * y
    return squared
