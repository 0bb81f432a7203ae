"""Registers the built-in components of the family `canonical`."""

from __future__ import annotations

from collections.abc import Iterable

from vswap_kernel.api import ComponentSpec, hookimpl


@hookimpl
def vswap_canonicals() -> Iterable[ComponentSpec]:
    """The baseline without a canonical space."""
    yield ComponentSpec(
        "keyframe",
        "vswap_canonical.keyframe:Keyframe",
        summary="the drag on the keyframe, copied unchanged to every frame: the baseline",
    )
