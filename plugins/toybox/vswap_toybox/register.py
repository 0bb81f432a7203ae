"""Registers the Toybox: the conformance kit's cases, `vswap toybox`, `vswap demo`, and what `vswap eval` tries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vswap_kernel.api import CaseSpec, hookimpl

if TYPE_CHECKING:
    import typer

_CASES = (
    "translation",
    "rotation",
    "scale",
    "occlusion",
    "out-of-frame",
    "mid-video-query",
    "camera-pan",
    "shape-change",
)


@hookimpl
def vswap_cases() -> Iterable[CaseSpec]:
    """Eight clips with exact answers."""
    for name in _CASES:
        yield CaseSpec(name, f"vswap_toybox.cases:{name.replace('-', '_')}")


@hookimpl
def vswap_cli(app: typer.Typer, groups: Mapping[str, typer.Typer]) -> None:
    """Adds `vswap toybox`, `vswap demo`, `vswap eval swap` and `vswap eval canonical`."""
    from vswap_toybox.commands import add_commands

    add_commands(app, groups["eval"])
