"""Registers the built-in components of the family `canonical`."""

from __future__ import annotations

from collections.abc import Iterable

from vswap_kernel.api import ComponentSpec, hookimpl


@hookimpl
def vswap_canonicals() -> Iterable[ComponentSpec]:
    """None yet."""
    return ()
