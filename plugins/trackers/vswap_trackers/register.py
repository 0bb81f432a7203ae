"""Registers the built-in components of the family `tracker`."""

from __future__ import annotations

from collections.abc import Iterable

from vswap_kernel.api import ComponentSpec, hookimpl


@hookimpl
def vswap_trackers() -> Iterable[ComponentSpec]:
    """None yet."""
    return ()
