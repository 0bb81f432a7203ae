"""The page beside a trained concept: its loss curve, its samples, how it was made. One file, no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _BASE = 760, 260, 56, 26
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2em auto;padding:0 1em;color:#222;"
    "background:#fff}img,svg{max-width:100%;height:auto}td,th{text-align:left;padding:.1em 1em .1em 0;"
    "vertical-align:top}svg text{font:12px system-ui,sans-serif;fill:#555}"
)


def write_page(
    path: Path, title: str, losses: Sequence[float], samples: Path, rows: Sequence[str], told: Mapping[str, object]
) -> None:
    """Write it.

    Args:
        path: of the page.
        title: its heading.
        losses: of every step.
        samples: the contact sheet.
        rows: what each row of it shows.
        told: what else is known, by name.
    """
    picture = base64.b64encode(samples.read_bytes()).decode()
    listed = "".join(f"<li>{escape(row)}</li>" for row in rows)
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in told.items())
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><h2>Loss</h2>{loss_chart(losses)}"
        f'<h2>Samples</h2><ol>{listed}</ol><img src="data:image/png;base64,{picture}" alt="contact sheet of samples">'
        f"<h2>Training</h2><table>{table}</table></body></html>\n",
        encoding="utf-8",
    )


def running_mean(losses: Sequence[float], span: int) -> list[float]:
    """The mean of each loss and the `span` - 1 before it: what a single step's timestep adds to its loss goes out."""
    return [math.fsum(losses[max(0, i + 1 - span) : i + 1]) / min(i + 1, span) for i in range(len(losses))]


def loss_chart(losses: Sequence[float]) -> str:
    """Inline SVG: the loss of each step, thin, and its running mean over a twentieth of the steps."""
    span = max(1, len(losses) // 20)
    smooth = running_mean(losses, span)
    top = max(losses) * 1.05 or 1.0
    label = (
        f"loss over {len(losses)} steps: mean of the first {span} {smooth[span - 1]:.4f}, of the last {smooth[-1]:.4f}"
    )
    ticks = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{_y(value, top):.1f}" y2="{_y(value, top):.1f}" stroke="#ddd"/>'
        f'<text x="{_LEFT - 6}" y="{_y(value, top) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (0.0, top / 2, top)
    )
    ends = (
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">step 1</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 6}" text-anchor="end">{len(losses)}</text>'
    )
    return (
        f'<svg viewBox="0 -14 {_WIDTH + 4} {_HEIGHT + 14}" role="img" aria-label="{label}">{ticks}{ends}'
        f'<path d="{_line(losses, top)}" fill="none" stroke="#b8c4d6"/>'
        f'<path d="{_line(smooth, top)}" fill="none" stroke="#1f5fa8" stroke-width="2"/></svg><p>{label}</p>'
    )


def _y(value: float, top: float) -> float:
    return (_HEIGHT - _BASE) * (1 - value / top)


def _line(values: Sequence[float], top: float) -> str:
    across = (_WIDTH - _LEFT) / max(1, len(values) - 1)
    return "M" + "L".join(f"{_LEFT + across * index:.1f} {_y(value, top):.1f}" for index, value in enumerate(values))
