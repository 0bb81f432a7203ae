from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vswap_kernel.encode import write_png
from vswap_kernel.testing import Case
from vswap_kernel.testing.suite import MasksConformance


class TestFiles(MasksConformance):
    component = "files"

    def options_for(self, case: Case, folder: Path) -> Mapping[str, Any]:
        for number, mask in enumerate(case.masks.frames):
            write_png(folder / f"{number:03d}.png", mask[..., None].repeat(3, -1))
        return {"path": folder, "grow": 0, "feather": 0}
