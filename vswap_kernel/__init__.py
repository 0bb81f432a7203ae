"""vswap: replace the main subject of a video, keep the background, keep the motion.

The public names load on first use, so that `import vswap_kernel` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "vswap_kernel.api": ("API_VERSION", "ComponentSpec", "Context", "Facts", "InputPath", "Options", "hookimpl"),
    "vswap_kernel.types": (
        "Cutout", "DisplacementField", "Masks", "Measurement", "PointEdit", "PointEmbeddings", "PointQueries",
        "PointTracks", "Prompt", "SwapResult", "Video",
    ),
    "vswap_kernel.errors": (
        "ConfigError", "InputError", "MissingExtraError", "PluginError", "StoreError", "VswapError",
    ),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 - computed from the table above


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vswap_kernel' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
