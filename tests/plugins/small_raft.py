"""A stand-in for `torchvision.models.optical_flow`, with its signatures: the flow is one learned shift everywhere."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn


class SmallRaft(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2))

    def forward(self, image1: Tensor, image2: Tensor, num_flow_updates: int = 12) -> list[Tensor]:
        for image in (image1, image2):
            assert image.min() >= -1
            assert image.max() <= 1
            assert all(side % 8 == 0 and side >= 128 for side in image.shape[2:])
        field = self.shift[None, :, None, None].expand(len(image1), 2, *image1.shape[2:])
        return [field * (step + 1) / num_flow_updates for step in range(num_flow_updates)]


def raft_large(*, weights: object = None, progress: bool = True) -> SmallRaft:
    assert weights is None
    return SmallRaft()


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchvision", "torchvision.models", "torchvision.models.optical_flow"):
        module = ModuleType(name)
        module.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["torchvision.models.optical_flow"], "raft_large", raft_large, raising=False)
