"""Which weights `dinov2` takes: told without loading them."""

from __future__ import annotations

from vswap_embedders.register import Dinov2Options
from vswap_kernel.api import Facts
from vswap_pretrained.kinds import check_kind

KINDS = {"dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel"}
"""By `model_type`, the class in transformers."""


def preflight(options: Dinov2Options, facts: Facts) -> None:
    """Check the folder before anything is computed.

    Raises:
        InputError: it holds no DINOv2 network.
    """
    check_kind(options.weights, KINDS, "embedder.weights")
