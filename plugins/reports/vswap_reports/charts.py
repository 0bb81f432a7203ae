"""Line charts over time, as the numbers that an inline SVG needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray

WIDTH, HEIGHT = 360, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 34


@dataclass(frozen=True)
class Chart:
    """One curve over the frames, or over the steps of something.

    Attributes:
        title: the curve's name. summary: one sentence for those who can't see it.
        lines: SVG path data, one per stretch without a gap. dots: (x, y) of frames whose neighbours are undefined.
        ticks_x, ticks_y: (position, label).
        unit: what the curve runs over. box: (left, top, right, bottom) of the area of the plot.
    """

    title: str
    summary: str
    lines: tuple[str, ...]
    dots: tuple[tuple[str, str], ...]
    ticks_x: tuple[tuple[str, str], ...]
    ticks_y: tuple[tuple[str, str], ...]
    unit: str = "frame"
    box: tuple[int, int, int, int] = (_LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    width: int = WIDTH
    height: int = HEIGHT


def line_chart(title: str, curve: FloatArray, unit: str = "frame") -> Chart:
    """Chart of `curve` float32 [T]: a gap where it is NaN, an empty plot where it is NaN throughout."""
    known = curve[np.isfinite(curve)].astype(float)
    if not known.size:
        return Chart(title, f"{title}: undefined in every {unit}", (), (), (), (), unit)
    ticks = nice_ticks(float(known.min()), float(known.max()))
    low, high = ticks[0], ticks[-1]
    last = max(1, len(curve) - 1)
    xs = [_LEFT + (WIDTH - _LEFT - _RIGHT) * index / last for index in range(len(curve))]
    ys = [_y(value, low, high) for value in curve.tolist()]
    stretches = _stretches(np.isfinite(curve))
    lines = tuple(
        "M" + "L".join(f"{xs[i]:.1f} {ys[i]:.1f}" for i in range(start, stop))
        for start, stop in stretches
        if stop - start > 1
    )
    dots = tuple((f"{xs[start]:.1f}", f"{ys[start]:.1f}") for start, stop in stretches if stop - start == 1)
    numbers = f"from {number(known.min())} to {number(known.max())}, mean {number(known.mean())}"
    summary = f"{title} over {len(curve)} {unit}s: {numbers}"
    ticks_x = tuple((f"{xs[frame]:.1f}", str(frame)) for frame in _frame_ticks(len(curve)))
    ticks_y = tuple((f"{_y(t, low, high):.1f}", number(t)) for t in ticks)
    return Chart(title, summary, lines, dots, ticks_x, ticks_y, unit)


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Ticks at multiples of 1, 2 or 5 times a power of ten that reach from at most `low` to at least `high`."""
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-6):
        margin = abs(low) * 0.05 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """At most four digits; a dash for what is undefined."""
    if not math.isfinite(value):
        return "-"
    return "0" if abs(value) < 1e-12 else f"{value:.4g}"


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)


def _stretches(known: BoolArray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True in bool [T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _frame_ticks(frames: int) -> list[int]:
    if frames == 1:
        return [0]
    ticks = [round(tick) for tick in nice_ticks(0, frames - 1) if tick <= frames - 1 and tick == round(tick)]
    return ticks or [0, frames - 1]
