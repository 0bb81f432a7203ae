"""`tapir` on the kit's cases: files of the recorded inputs and outputs, in them a small tracker that isn't TAPIR."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from small_tapir import tapir_files
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance


class TestTapir(TrackerConformance):
    component = "tapir"
    files: dict[str, Path]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _exported(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.files = tapir_files(tmp_path_factory.mktemp("tapir"))

    def options_for(self, case: Case, folder: Path) -> dict[str, Path]:
        return self.files
