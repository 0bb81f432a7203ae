"""The errors a user meets: one line each, saying what was wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class VswapError(Exception):
    """An expected failure. Its text is one clear line; the CLI prints it without a traceback and exits with 2."""

    exit_code = 2


class InputError(VswapError):
    """A file, a field of the config, or a point that can't be used."""


class ConfigError(InputError):
    """A config that doesn't fit the registry: unknown name, unknown option, wrong type."""


class PluginError(VswapError):
    """A plugin that can't be used: broken, conflicting, made for another API version, or it broke its contract."""


class MissingExtraError(PluginError):
    """A component whose Python packages aren't installed."""


class StoreError(VswapError):
    """The store can't be written or holds something damaged."""


def nearest_first(name: str, known: Iterable[str]) -> str:
    """The known names as one readable list, the nearest to `name` first (``did you mean`` when one is close)."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if not close:
        return f"known: {', '.join(names) or 'none'}"
    rest = [other for other in names if other != close[0]]
    return f"did you mean {close[0]!r}?" + (f" Also known: {', '.join(rest)}" if rest else "")
