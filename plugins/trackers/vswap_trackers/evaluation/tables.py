"""Means, and the files that an evaluation leaves: results.json, results.csv, index.html."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np

from vswap_trackers.evaluation.running import DETAILS, FIGURES, Evaluation, Row

MEANINGS = {
    "pck@0.1": "share of joints within 0.1 sqrt(mask area), higher is better",
    "pck@0.2": "share of joints within 0.2 sqrt(mask area), higher is better",
    "aj": "average Jaccard, 0..1, higher is better",
    "delta_avg": "share of visible points within 1, 2, 4, 8, 16 px of 256, averaged, higher is better",
    "oa": "occlusion accuracy, 0..1, higher is better",
    "points_frames_per_s": "points x frames a second while tracking, higher is better",
    "peak_mb": "peak memory of the tracker in MB, lower is better",
}


def as_json(rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Any]:
    """{"trackers": {name: {"mean", "clips": {clip: figures}}}}, as documented in docs/tracking.md."""
    trackers = {}
    for name, clips in rows.items():
        figures = {clip: {figure: row[figure] for figure in FIGURES} for clip, row in clips.items()}
        trackers[name] = {"mean": mean(clips.values(), FIGURES), "clips": figures}
    return {"trackers": trackers}


def mean(rows: Iterable[Row], figures: Iterable[str]) -> dict[str, float | None]:
    """Over the clips on which a figure is defined; each clip counts once, however many points it has."""
    listed = list(rows)
    values = {figure: [row[figure] for row in listed if row[figure] is not None] for figure in figures}
    return {figure: round(float(np.mean(found)), 4) if found else None for figure, found in values.items()}


def write_results(asked: Evaluation, rows: Mapping[str, Mapping[str, Row]]) -> dict[str, Any]:
    """Write everything into the out folder, and return what results.json holds."""
    data = as_json(rows)
    (asked.out / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    columns = ("tracker", "clip", "points", "frames", *FIGURES, *DETAILS, "seconds", "error")
    with (asked.out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for name, clips in rows.items():
            writer.writerows({"tracker": name, "clip": clip} | row for clip, row in clips.items())
    _write_page(asked, rows)
    return data


def _write_page(asked: Evaluation, rows: Mapping[str, Mapping[str, Row]]) -> None:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure
    template = environment.from_string(files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    page = template.render(
        title=asked.data.resolve().name,
        mode=asked.mode,
        size=asked.size,
        figures=FIGURES,
        details=DETAILS,
        meanings=MEANINGS,
        means={name: mean(clips.values(), (*FIGURES, *DETAILS)) for name, clips in rows.items()},
        failures={name: sum(row["error"] is not None for row in clips.values()) for name, clips in rows.items()},
        clips=[(clip.name, [(name, clips[clip.name]) for name, clips in rows.items()]) for clip in asked.clips],
    )
    (asked.out / "index.html").write_text(page, "utf-8")


def figure(value: float | None) -> str:
    """As it is shown: three digits, a dash for what is undefined."""
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
