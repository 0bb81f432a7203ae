"""`feature-match` on the kit's cases, with an embedder lent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from small_matcher import Surroundings
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.suite import TrackerConformance


class TestFeatureMatch(TrackerConformance):
    """With features of whatever surrounds a place: real, but blind to what a thing is."""

    component = "feature-match"
    options = {"window": 8.0, "max_error": 4.0, "hide": 0.7, "show": 0.9}
    lends = {"embedder": Surroundings()}


class TestFeatureMatchOfDinov2(TrackerConformance):
    """With the real class, small. Its weights are random: patches of pixels are told apart by it, and no more, which
    does for the kit's own case alone."""

    component = "feature-match"
    cases = ("patch",)
    options = {"window": 10.0, "max_error": 5.0}
    weights: Path

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _written(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        transformers = pytest.importorskip("transformers")
        import torch

        torch.manual_seed(0)
        sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
        network = transformers.Dinov2Model(transformers.Dinov2Config(**sizes))
        # a trained one has found out by itself that what is where doesn't matter, and has filters of some contrast
        network.embeddings.position_embeddings.data.zero_()
        torch.nn.init.kaiming_normal_(network.embeddings.patch_embeddings.projection.weight, nonlinearity="linear")
        cls.weights = tmp_path_factory.mktemp("dinov2")
        network.save_pretrained(cls.weights)

    def lends_for(self, case: Case, folder: Path) -> dict[str, Any]:
        return {"embedder": {"name": "dinov2", "weights": self.weights, "patches": 32}}
