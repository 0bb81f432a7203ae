"""RAFT through torchvision, where that is installed (Teed & Deng, "RAFT: Recurrent All-Pairs Field Transforms for
Optical Flow", ECCV 2020).

torchvision isn't installed where this was written and its weights can't be had there: this was driven through a
stand-in with torchvision's signatures (tests/plugins/small_raft.py), never with the network itself.
"""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vswap_kernel.errors import ConfigError, InputError
from vswap_kernel.types import ByteArray, FloatArray

_MULTIPLE = 8
"""Pixels; the network takes sides that are multiples of it, and of at least 128."""
_LEAST = 128


class RaftFlow:
    """Flow by `torchvision.models.optical_flow.raft_large` with weights from a file."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """weights: the state dict that torchvision publishes for raft_large, a .pth file.

        Raises:
            ConfigError: torchvision isn't installed.
            InputError: the file isn't such a state dict.
        """
        if find_spec("torchvision") is None:
            raise ConfigError(
                "flow: raft needs torchvision, which isn't installed: pip install torchvision, or flow: dis"
            )
        from torchvision.models.optical_flow import raft_large

        network: Any = raft_large(weights=None, progress=False)
        try:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError) as error:
            what = str(error).splitlines()[0]
            raise InputError(f"{weights}: not the weights of torchvision's raft_large ({what})") from None
        self._network, self._device = network.eval().to(device), device

    @torch.no_grad()
    def between(self, before: ByteArray, after: ByteArray) -> FloatArray:
        """By how much each pixel of the RGB frame `before` uint8 [h, w, 3] moves until `after`: float32 [h, w, 2],
        (x, y) pixels."""
        height, width = before.shape[:2]
        first, second = (self._prepared(frame) for frame in (before, after))
        flow: Tensor = self._network(first, second)[-1]
        return np.asarray(flow[0, :, :height, :width].movedim(0, -1).float().cpu().numpy(), np.float32)

    def _prepared(self, frame: ByteArray) -> Tensor:
        """[1, 3, H, W] in -1..1, its border repeated to the right and below until the network takes it."""
        picture = (
            torch.from_numpy(np.ascontiguousarray(frame)).to(self._device).movedim(-1, 0)[None].float() / 127.5 - 1
        )
        height, width = frame.shape[:2]
        add = [max(_LEAST, -(-side // _MULTIPLE) * _MULTIPLE) - side for side in (width, height)]
        return functional.pad(picture, (0, add[0], 0, add[1]), mode="replicate")
