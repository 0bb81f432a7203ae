"""Holds a network still while something beside it is trained through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn


@contextmanager
def frozen(network: nn.Module, *, gradient_checkpointing: bool = False) -> Iterator[None]:
    """Within, no parameter of `network` takes a gradient; afterwards everything is as before.

    With `gradient_checkpointing` the network (a diffusers model) computes its activations again in the backward pass,
    instead of keeping them: about a third slower, and much smaller.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    already = bool(getattr(network, "is_gradient_checkpointing", False))
    network.requires_grad_(False)
    if gradient_checkpointing and not already:
        cast("_Checkpointed", network).enable_gradient_checkpointing()
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        if gradient_checkpointing and not already:
            cast("_Checkpointed", network).disable_gradient_checkpointing()


class _Checkpointed:
    """What diffusers' ModelMixin offers; not named itself, as this module needs torch only."""

    def enable_gradient_checkpointing(self) -> None: ...

    def disable_gradient_checkpointing(self) -> None: ...
