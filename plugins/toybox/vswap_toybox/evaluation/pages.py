"""The pages that evaluations write: templates beside this module, all based on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def write_page(path: Path, template: str, **facts: Any) -> None:
    """Write the template of that name, filled with `facts`, as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vswap_toybox.evaluation", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    path.write_text(environment.get_template(template).render(**facts), "utf-8")


def figure(value: float | None, digits: int = 3) -> str:
    """As it is shown: a few digits, a dash for what is undefined."""
    return "-" if value is None else f"{value:.{digits}g}" if abs(value) < 1 else f"{value:.2f}"
