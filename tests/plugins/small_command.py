"""`python -m small_command` is `vswap` with the small plugin registered, as if it were installed."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import small_plugin
from vswap_kernel import cli
from vswap_kernel.api import hookimpl
from vswap_kernel.registry import Registry


def _broken() -> Any:
    raise ImportError("libmissing.so: cannot open shared object file")


@hookimpl
def vswap_cli() -> None:
    """A hook that fails."""
    raise RuntimeError("no commands")


discover = Registry.discover


def _with_small() -> Registry:
    registry = discover()
    registry.add(lambda: small_plugin, "small", "vswap-small", "0.3")
    if os.environ.get("SMALL_COMMAND_BROKEN") == "cli":
        made = ModuleType("made")
        made.vswap_cli = vswap_cli
        registry.add(lambda: made, "cli", "vswap-cli", "1.0")
    elif os.environ.get("SMALL_COMMAND_BROKEN"):
        registry.add(_broken, "broken", "vswap-broken", "1.0")
    return registry


if __name__ == "__main__":
    Registry.discover = staticmethod(_with_small)
    cli.main()
