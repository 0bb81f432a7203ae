"""The canonicals that are compared: names, or YAML files of fields that replace those of each clip's job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vswap_kernel.errors import ConfigError, InputError, PluginError, nearest_first
from vswap_kernel.registry import Component, Registry
from vswap_toybox.evaluation.methods import Method, read_method

EXACT = "exact"
TRUTH = "truth"  # the first row of a contact sheet
EXACT_TRACKS = {"name": "file", "path": "tracks"}  # beside the job


def tracker_fields(tracks: str) -> dict[str, Any]:
    """The field of a config that --tracks stands for."""
    return {"tracker": dict(EXACT_TRACKS) if tracks == EXACT else {"name": tracks}}


def find_canonicals(text: str | None, registry: Registry) -> tuple[list[Method], list[str]]:
    """The methods of "similarity,mine/other.yaml"; with None, all that may run as they are.

    A YAML file has the canonical's own fields (`name: flow`, options) or fields of a config (`canonical: {...}`, and
    what goes with it).

    Returns:
        the methods, and a line about each canonical that is left out.

    Raises:
        ConfigError: no such canonical, or one twice.
        InputError: a file that isn't such a YAML.
        PluginError: none can run here.
    """
    if text is None:
        return _all(registry)
    found = [_named(name.strip(), registry) for name in text.split(",") if name.strip()]
    names = [method.name for method in found]
    if not found:
        raise ConfigError("--methods: none is named; as in --methods keyframe,similarity")
    if len(set(names)) < len(names):
        raise ConfigError(f"--methods: {max(names, key=names.count)!r} stands there more than once")
    return found, []


def _all(registry: Registry) -> tuple[list[Method], list[str]]:
    lines = {each.spec.name: _lacking(each) for each in registry.components("canonical")}
    left_out = [f"{name}: {line}" for name, line in lines.items() if line]
    found = [_plain(name) for name, line in lines.items() if not line]
    if not found:
        raise PluginError(f"no canonical can run here ({'; '.join(left_out) or 'none is installed'})")
    return found, left_out


def _lacking(component: Component) -> str:
    """Why a canonical can't run by its name alone; "" where it can."""
    if component.missing:
        return f"needs {', '.join(component.missing)}; {component.spec.install}".rstrip("; ")
    others = sorted(component.spec.accepts.keys() - {"masks"})
    return f"works with {' and '.join(others)}; name those in a YAML file for --methods" if others else ""


def _plain(name: str) -> Method:
    return Method(name, {"canonical": {"name": name}})


def _named(name: str, registry: Registry) -> Method:
    if not name.endswith((".yaml", ".yml")):
        try:
            registry.get("canonical", name)
        except ConfigError as error:
            raise ConfigError(f"--methods: {error}") from None
        return _plain(name)
    method = read_method(Path(name))
    fields: Mapping[str, Any] = {"canonical": method.fields} if "name" in method.fields else method.fields
    if "canonical" not in fields:
        raise InputError(f"--methods: {name}: expected `name: ...` and options, or `canonical: {{name: ...}}`")
    if method.name == TRUTH:
        raise ConfigError(f"--methods: {name}: the name {TRUTH!r} is taken; rename the file")
    return Method(method.name, fields, method.folder)


def with_tracker(methods: Sequence[Method], tracks: str) -> list[Method]:
    """The methods, each with the tracker that --tracks names where it has none of its own."""
    return [Method(each.name, tracker_fields(tracks) | dict(each.fields), each.folder) for each in methods]


def overrides_of(method: Method, overrides: Sequence[str], registry: Registry) -> list[str]:
    """Those of the "field=value" that change the method: an option of `canonical` only where its canonical has it."""
    options = _options(method, registry)
    return [text for text in overrides if (option := _option(text)) is None or option in options]


def check_overrides(methods: Sequence[Method], overrides: Sequence[str], registry: Registry) -> None:
    """Raise ConfigError for an option that no method's canonical has."""
    known = sorted(set().union(*(_options(method, registry) for method in methods)))
    for text in overrides:
        if (option := _option(text)) is not None and option not in known:
            hint = nearest_first(option, known)
            raise ConfigError(f"--set {text}: no canonical asked for has the option {option!r}; {hint}")


def _option(override: str) -> str | None:
    """The option that "canonical.OPTION=value" names; None for another field."""
    family, _, option = override.partition("=")[0].partition(".")
    return option.partition(".")[0] if family == "canonical" and option else None


def _options(method: Method, registry: Registry) -> set[str]:
    chosen = method.fields["canonical"]
    name = chosen.get("name") if isinstance(chosen, Mapping) else None
    return set(registry.get("canonical", name).spec.options.model_fields) if isinstance(name, str) else set()
