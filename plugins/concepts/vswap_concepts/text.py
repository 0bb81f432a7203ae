"""`text`: a new subject that the diffusion model knows by its word."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from vswap_kernel.api import Context, NoOptions
from vswap_kernel.protocols import Backbone
from vswap_kernel.types import Prompt


class Text:
    """Implements `vswap_kernel.protocols.Concept`."""

    def __init__(self, options: NoOptions, context: Context) -> None:
        pass

    def prompt(self, text: str, /) -> Prompt:
        return Prompt(text)

    def attach(self, backbone: Backbone, /) -> AbstractContextManager[None]:
        """Changes nothing."""
        return nullcontext()
