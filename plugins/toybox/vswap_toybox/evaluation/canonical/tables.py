"""Means over clips, and the files that an evaluation leaves: results.json, results.csv, index.html."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vswap_toybox.evaluation.canonical.bench import Evaluation, Row
from vswap_toybox.evaluation.canonical.figures import DETAILS, FIGURES
from vswap_toybox.evaluation.canonical.methods import TRUTH
from vswap_toybox.evaluation.canonical.pictures import FAR
from vswap_toybox.evaluation.canonical.suites import suite_named
from vswap_toybox.evaluation.pages import write_page

MEANINGS = {
    "mean_px": "mean distance in pixels from where the drag truly goes, lower is better",
    "p95_px": "what 95 % of these distances are below, in pixels, lower is better",
    "validity": "share of (frame, point) told rightly to be seen or hidden, higher is better",
    "fit_seconds": "to learn a clip",
    "drag_ms": "milliseconds to carry one point's drag, reading what was learned included",
    "rigid_px": "mean_px of points on parts that move with the subject as a whole",
    "swinging_px": "mean_px of points on parts that swing: tails, fins, legs",
    "outside_px": "mean_px of points moved beyond the subject's outline",
}


def as_json(asked: Evaluation, rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """{"suite", ..., "methods": {name: figures, "failed", "clips"}}, as documented in docs/evaluation.md."""
    head = {"suite": asked.suite, "clips": asked.clips, "seed": asked.seed, "length": asked.length}
    head |= {"tracks": asked.tracks, "masks": asked.masks}
    return head | {"methods": {name: _summary(listed) for name, listed in rows.items()}}


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over the clips where a figure is defined; but p95_px is of all clips' distances taken together."""
    found = {name: _mean(rows, name) for name in (*FIGURES, *DETAILS)}
    distances = [each for row in rows for each in row["distances"]]
    found["p95_px"] = round(float(np.percentile(distances, 95)), 4) if distances else None
    clips = [{name: value for name, value in row.items() if name != "distances"} for row in rows]
    return found | {"failed": sum(row["error"] is not None for row in rows), "clips": clips}


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return round(float(np.mean(values)), 4) if values else None


def write_results(asked: Evaluation, rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Write everything into the out folder, and return what results.json holds."""
    data = as_json(asked, rows)
    (asked.out / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    columns = ("method", "clip", "subject", "scene", "frames", *FIGURES, *DETAILS, "error")
    with (asked.out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for name, found in data["methods"].items():
            writer.writerows({"method": name} | row for row in found["clips"])
    methods = data["methods"]
    clips = [[(name, found["clips"][index]) for name, found in methods.items()] for index in range(asked.clips)]
    facts = {"asked": asked, "summary": suite_named(asked.suite).summary, "methods": methods, "clips": clips}
    facts |= {"names": [TRUTH, *methods], "figures": (*FIGURES, *DETAILS), "meanings": MEANINGS}
    write_page(asked.out / "index.html", "canonical/page.html.j2", **facts, far=FAR * asked.length / 64)
    return data
