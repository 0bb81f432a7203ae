from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from vswap_kernel.testing import Case
from vswap_kernel.testing.suite import ConceptConformance


class TestPhoto(ConceptConformance):
    component = "photo"

    def options_for(self, case: Case, folder: Path) -> Mapping[str, Any]:
        assert case.cutout is not None
        cv2.imwrite(str(folder / "subject.png"), case.cutout.rgba[..., [2, 1, 0, 3]])
        points = dict(zip(case.cutout.names, case.cutout.xy.tolist(), strict=True))
        (folder / "subject.json").write_text(json.dumps({"frame": 0, "points": points}))
        return {"image": folder / "subject.png", "points": folder / "subject.json"}
