"""The exported file of the tracker's network. The exporter alone takes half a minute, whatever the network's size."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from vswap_toybox.tracking.export import disagreement, export
from vswap_toybox.tracking.model import TINY, ToyTrack


@pytest.mark.slow
def test_the_exported_file_answers_as_the_network_at_any_shape(tmp_path):
    torch.manual_seed(0)
    model = ToyTrack(replace(TINY, iterations=1))
    torch.nn.init.normal_(model.refinement.after[1].weight, std=0.1)
    size = export(model, tmp_path / "tiny.onnx")
    weights = 2 * sum(parameter.numel() for parameter in model.parameters())
    assert weights < size < weights + 400_000
    # frames, height, width, points
    for shape in ((9, 96, 136, 7), (1, 64, 64, 1), (3, 50, 90, 17)):
        assert disagreement(model, tmp_path / "tiny.onnx", *shape) < 5e-3
