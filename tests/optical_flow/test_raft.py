"""RAFT's adapter, through a stand-in with torchvision's signatures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import small_raft
from vswap_kernel.errors import ConfigError, InputError
from vswap_optical_flow.raft import RaftFlow

FRAME = np.random.default_rng(0).integers(0, 256, (70, 133, 3), np.uint8)


def weights(folder: Path) -> Path:
    torch.save({"shift": torch.tensor([3.0, -1.5])}, folder / "raft.pth")
    return folder / "raft.pth"


def test_any_size_is_padded_to_what_the_network_takes_and_the_last_update_is_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_raft.install(monkeypatch)
    flow = RaftFlow(weights(tmp_path)).between(FRAME, FRAME)
    assert (flow.shape, flow.dtype) == ((70, 133, 2), np.float32)
    np.testing.assert_allclose(flow, np.broadcast_to(np.float32([3, -1.5]), flow.shape))


def test_without_torchvision_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr("vswap_optical_flow.raft.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install torchvision"):
        RaftFlow(tmp_path / "raft.pth")


@pytest.mark.parametrize("content", [b"no weights", None])
def test_a_file_that_is_no_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content) -> None:
    small_raft.install(monkeypatch)
    path = tmp_path / "other.pth"
    path.write_bytes(content) if content else torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"other\.pth: not the weights"):
        RaftFlow(path)
