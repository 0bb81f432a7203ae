"""Means, spreads, and the files that an evaluation leaves: results.json, results.csv, index.html."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vswap_toybox.evaluation.bench import Evaluation, Row, sheet_names
from vswap_toybox.evaluation.pages import write_page
from vswap_toybox.evaluation.scoring import FIGURES
from vswap_toybox.evaluation.suites import suite_named

UNITS = {
    "subject_psnr": "dB, higher is better",
    "subject_ssim": "up to 1, higher is better",
    "mask_iou": "0..1, higher is better",
    "point_error_px": "pixels, lower is better",
    "background_psnr": "dB, 100 at most, higher is better",
    "temporal": "warp error over the answer's, 1 is as steady",
    "identity": "0..1, higher is better",
    "seconds": "per clip",
}


def as_json(suite: str, rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """{"suite", "methods": {name: {"mean", "spread", "clips"}}}, as documented in docs/evaluation.md."""
    methods = {}
    for name, listed in rows.items():
        mean, spread = ({figure: how(listed, figure) for figure in FIGURES} for how in (_mean, _spread))
        methods[name] = {"mean": mean, "spread": spread, "clips": list(listed)}
    return {"suite": suite, "methods": methods}


def write_results(asked: Evaluation, rows: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Write everything into the out folder, and return what results.json holds."""
    data = as_json(asked.suite, rows)
    (asked.out / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    with (asked.out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("method", "clip", "source", "target", "scene", *FIGURES, "error"))
        writer.writeheader()
        for name, listed in rows.items():
            writer.writerows({"method": name} | row for row in listed)
    _write_page(asked, data)
    return data


def _write_page(asked: Evaluation, data: Mapping[str, Any]) -> None:
    clips = [
        [(name, data["methods"][name]["clips"][index]) for name in data["methods"]] for index in range(asked.clips)
    ]
    facts = {"asked": asked, "summary": suite_named(asked.suite).summary, "methods": data["methods"], "clips": clips}
    facts |= {"names": sheet_names(asked.methods), "figures": FIGURES, "units": UNITS}
    write_page(asked.out / "index.html", "page.html.j2", **facts)


def _defined(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None]


def _mean(rows: Sequence[Row], name: str) -> float | None:
    """Over the clips on which the figure is defined."""
    values = _defined(rows, name)
    return round(float(np.mean(values)), 4) if values else None


def _spread(rows: Sequence[Row], name: str) -> float | None:
    """Their standard deviation."""
    values = _defined(rows, name)
    return round(float(np.std(values)), 4) if values else None
