from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vswap_kernel.encode import write_png
from vswap_kernel.testing import Case
from vswap_kernel.testing.suite import MetricConformance


class TestBackground(MetricConformance):
    component = "background"


class TestTemporal(MetricConformance):
    component = "temporal"
    cases = ("patch", "rotation")


class TestPointAlignment(MetricConformance):
    component = "point-alignment"


class TestExactAnswer(MetricConformance):
    component = "exact-answer"
    cases = ("patch", "rotation")

    def options_for(self, case: Case, folder: Path) -> Mapping[str, Any]:
        (folder / "video").mkdir()
        (folder / "masks").mkdir()
        assert case.answer is not None
        for number, frame in enumerate(case.answer.video.frames):
            write_png(folder / "video" / f"{number:03d}.png", frame)
            write_png(
                folder / "masks" / f"{number:03d}.png", case.answer.subject.frames[number, ..., None].repeat(3, -1)
            )
        return {"video": folder / "video", "masks": folder / "masks"}
