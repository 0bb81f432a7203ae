"""`pose` on cases with joints: the real class of ViTPose, tiny, its weights set by hand to find coloured spots.

On the kit's other cases, and for a thousand points, it is skipped: it finds joints alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_vitpose import colour_vitpose
from vswap_kernel.api import CaseSpec
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance

JOINT_CASES = ("translation", "rotation", "scale", "occlusion", "out-of-frame", "mid-video-query")


class TestPose(TrackerConformance):
    component = "pose"
    own_cases = tuple(CaseSpec(f"joints-{name}", f"joint_cases:{name.replace('-', '_')}") for name in JOINT_CASES)
    weights: Path

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _written(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.weights = colour_vitpose(tmp_path_factory.mktemp("vitpose"))

    def options_for(self, case: Case, folder: Path) -> dict[str, Path]:
        return {"weights": self.weights}
