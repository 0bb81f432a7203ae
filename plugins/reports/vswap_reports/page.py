"""The report of a run: `report.html`, one page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from vswap_kernel.api import FinishedRun
from vswap_kernel.types import Masks, Measurement, PointTracks
from vswap_reports.canonical_pictures import canonical_pictures
from vswap_reports.charts import Chart, line_chart, number
from vswap_reports.details import config_text, environment
from vswap_reports.drags import drag_sheet
from vswap_reports.media import side_by_side_uri
from vswap_reports.overlays import Overlay, Picture, name_colours

_SHEET_FRAMES = 8
_SHEET_WIDTH, _LARGE_WIDTH = 320, 640
_FONT = 14
_METRIC = "metric:"


@dataclass(frozen=True)
class MetricSection:
    """One metric: (name, figure) rows, and a chart for each of its curves."""

    name: str
    rows: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]


def write_page(run: FinishedRun) -> Path:
    """Write `report.html` into the run folder and return its path.

    The same run gives the same bytes: the page holds no time, and no path of this machine.
    """
    template = _environment().from_string(files("vswap_reports").joinpath("report.html.j2").read_text("utf-8"))
    page = template.render(_content(run))
    path = run.folder / "report.html"
    temporary = path.with_name(".report.html.tmp")
    temporary.write_text(page, "utf-8")
    temporary.replace(path)
    return path


def _environment() -> jinja2.Environment:
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _content(run: FinishedRun) -> dict[str, Any]:
    tracks, targets, masks = (run.artefacts.get(name) for name in ("tracks", "targets", "masks"))
    colours = name_colours(tracks, targets)
    frames = len(run.source)
    return {
        "title": run.title,
        "facts": _facts(run, len(colours)),
        "video": side_by_side_uri(run.source, run.result),
        "points": _points(run, tracks, targets, colours),
        "font": _FONT,
        "colours": colours,
        "drags": drag_sheet(run, colours, sheet_frames(frames), _SHEET_WIDTH, _FONT),
        "canonical": canonical_pictures(run.artefacts.get("canonical")),
        "sheet": _sheet(run, tracks, targets, masks, colours),
        "metrics": metric_sections(run.artefacts),
        "preparation": preparation_charts(run.artefacts.get("prepare")),
        "last_frame": frames - 1,
        "config": config_text(run.folder),
        "environment": environment(run.folder),
    }


def _facts(run: FinishedRun, points: int) -> list[str]:
    width, height = run.source.size
    facts = [f"{len(run.source)} frames", f"{width}x{height}", f"{number(run.source.fps)} frames/s"]
    return [*facts, f"{points} points"] if points else facts


def sheet_frames(frames: int) -> list[int]:
    """At most eight frames, evenly spread from the first to the last."""
    spread = np.linspace(0, frames - 1, min(frames, _SHEET_FRAMES))
    return [round(frame) for frame in spread.tolist()]


def _sheet(
    run: FinishedRun,
    tracks: PointTracks | None,
    targets: PointTracks | None,
    masks: Masks | None,
    colours: Mapping[str, str],
) -> list[tuple[int, Picture, Picture]]:
    swap = run.artefacts.get("swap")
    before = Overlay(run.source, tracks, masks, colours, _SHEET_WIDTH)
    after = Overlay(run.result, targets, None if swap is None else swap.subject, colours, _SHEET_WIDTH)
    return [
        (frame, before.picture(frame, f"source, frame {frame}"), after.picture(frame, f"result, frame {frame}"))
        for frame in sheet_frames(len(run.source))
    ]


def _points(
    run: FinishedRun, tracks: PointTracks | None, targets: PointTracks | None, colours: Mapping[str, str]
) -> list[Picture]:
    """Source and result, larger and with names, on the frame that shows the most points."""
    known = targets if tracks is None else tracks
    if known is None or not known.names:
        return []
    frame = int(np.argmax(known.visible.sum(axis=1)))
    before, after = (
        Overlay(video, points, None, colours, _LARGE_WIDTH)
        for video, points in ((run.source, tracks), (run.result, targets))
    )
    return [
        before.picture(frame, f"source, frame {frame}", _FONT),
        after.picture(frame, f"result, frame {frame}", _FONT),
    ]


def preparation_charts(prepared: Path | None) -> list[Chart]:
    """The curves of a prepared folder's curves.json, {title: a number or null for each step}; none without one."""
    if prepared is None or not (prepared / "curves.json").is_file():
        return []
    curves = json.loads((prepared / "curves.json").read_text())
    return [line_chart(title, np.array(curve, np.float32), "step") for title, curve in curves.items()]


def metric_sections(artefacts: Mapping[str, Any]) -> list[MetricSection]:
    """What each metric measured, in the order of the plan."""
    found: dict[str, Measurement] = {
        name.removeprefix(_METRIC): value for name, value in artefacts.items() if name.startswith(_METRIC)
    }
    return [
        MetricSection(
            name,
            tuple((key, number(value)) for key, value in measured.values.items()),
            tuple(line_chart(key, curve) for key, curve in measured.series.items()),
        )
        for name, measured in found.items()
    ]
