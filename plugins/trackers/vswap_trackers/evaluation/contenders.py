"""The trackers that are compared: names, or YAML files that set their options and what they work with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from vswap_kernel.api import Options
from vswap_kernel.config import Chosen, component_options
from vswap_kernel.errors import ConfigError, InputError, PluginError, nearest_first
from vswap_kernel.hooks import FAMILIES
from vswap_kernel.registry import Component, Registry
from vswap_kernel.store import content_digest


class Settings(Options):
    """What a YAML file may set besides the components."""

    device: str = Field("cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="cpu, cuda, cuda:1, mps")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = Field(0, ge=0, description="seeds every random choice")


@dataclass(frozen=True)
class Contender:
    """A tracker with its options.

    Attributes:
        name: how it is called in the results.
        families: the tracker, and what it is lent: an embedder, a backbone.
        settings: device, dtype, seed.
        asked_for: it was named; one that wasn't is left out when it can't be made here.
    """

    name: str
    families: Mapping[str, Chosen]
    settings: Settings = field(default_factory=Settings)
    asked_for: bool = True

    @property
    def tracker(self) -> Chosen:
        """The tracker itself."""
        return self.families["tracker"]

    def key(self) -> str:
        """Names all that its tracks depend on besides the clip."""
        parts = {name: _identity(chosen) for name, chosen in self.families.items()}
        state = json.dumps([parts, self.settings.model_dump()], sort_keys=True)
        return hashlib.sha256(state.encode()).hexdigest()


def contenders(names: str | None, overrides: Sequence[str], registry: Registry) -> tuple[list[Contender], list[str]]:
    """The trackers of "lucas-kanade,mine/other.yaml"; with None, all that may run as they are.

    Each override is "field=value", a field being `device`, `dtype`, `seed` or as `tracker.window`; the value is YAML.

    Returns:
        the trackers, and a line about each that is left out.

    Raises:
        ConfigError: no such tracker, one twice, an unknown option, or components that don't fit together.
        InputError: a file that isn't such a YAML.
        PluginError: a tracker that can't be used here.
    """
    changes = [_change(text) for text in overrides]
    if names is None:
        return _all(changes, registry)
    listed = [name.strip() for name in names.split(",") if name.strip()]
    found = [_named(name, changes, registry) for name in listed]
    titles = [contender.name for contender in found]
    if not found:
        raise ConfigError("--trackers: none is named; as in --trackers lucas-kanade")
    if len(set(titles)) < len(titles):
        raise ConfigError(f"--trackers: {max(titles, key=titles.count)!r} stands there more than once")
    return found, []


def _all(changes: Sequence[tuple[str, str, Any]], registry: Registry) -> tuple[list[Contender], list[str]]:
    found, left_out = [], []
    for component in registry.components("tracker"):
        name, wanted = component.spec.name, sorted(component.spec.accepts)
        try:
            if component.missing:
                raise PluginError(f"needs {', '.join(component.missing)}; {component.spec.install}".rstrip("; "))
            if wanted:
                raise ConfigError(f"works with {' and '.join(wanted)}; name those in a YAML file for --trackers")
            contender = _checked(name, {"tracker": {"name": name}}, Path(), changes, registry)
            found.append(Contender(name, contender.families, contender.settings, asked_for=False))
        except (InputError, PluginError) as error:
            left_out.append(f"{name}: {error}")
    if not found:
        raise PluginError(f"no tracker can run here ({'; '.join(left_out) or 'none is installed'})")
    return found, left_out


def _named(name: str, changes: Sequence[tuple[str, str, Any]], registry: Registry) -> Contender:
    if not name.endswith((".yaml", ".yml")):
        return _checked(name, {"tracker": {"name": name}}, Path(), changes, registry)
    path = Path(name)
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--trackers: {path}: can't be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict) or not data.keys() & {"name", "tracker"}:
        raise InputError(f"--trackers: {path}: expected `name: ...` and options, or `tracker: {{name: ...}}`")
    data = {"tracker": data} if "name" in data else data
    try:
        return _checked(path.stem, data, path.parent, changes, registry)
    except ConfigError as error:
        raise ConfigError(f"--trackers: {path}: {error}") from None


def _checked(
    title: str, data: Mapping[str, Any], folder: Path, changes: Sequence[tuple[str, str, Any]], registry: Registry
) -> Contender:
    """The contender of plain values, paths relative to `folder`; raises ConfigError or PluginError."""
    plain: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for family, option, value in changes:
        place = plain.setdefault(family, {}) if family else plain
        if not isinstance(place, dict):
            raise ConfigError(f"{family}: expected a name and options, got {place!r}")
        place[option] = value
    known = [*Settings.model_fields, *FAMILIES]
    if unknown := [str(key) for key in plain if key not in known]:
        raise ConfigError(f"unknown field {unknown[0]!r}; {nearest_first(unknown[0], known)}")
    try:
        settings = Settings.model_validate({key: plain[key] for key in Settings.model_fields if key in plain})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}") from None
    families = {family: _chosen(family, plain[family], folder, registry) for family in FAMILIES if family in plain}
    for chosen in families.values():
        _check_fit(chosen.component, families)
    return Contender(title, families, settings)


def _chosen(family: str, value: Any, folder: Path, registry: Registry) -> Chosen:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ConfigError(f"{family}: expected a name and options, as in {{name: ...}}, got {value!r}")
    component = registry.get(family, value["name"])
    if component.missing:
        component.load(component.spec.factory)  # raises the error that says what to install
    return Chosen(component, component_options(component, {k: v for k, v in value.items() if k != "name"}, folder))


def _check_fit(component: Component, families: Mapping[str, Chosen]) -> None:
    spec = component.spec
    for family, wanted in spec.accepts.items():
        if family not in families:
            hint = f"give it in a YAML file for --trackers: `{family}: {{name: ...}}`"
            raise ConfigError(f"{component.family} {spec.name!r} works with a component of family {family}; {hint}")
        has = families[family].component.spec.capabilities
        if wanted and not set(wanted) & set(has):
            offer = f"{families[family].name!r} offers {', '.join(has) or 'nothing'}"
            raise ConfigError(f"{component.family} {spec.name!r} needs {' or '.join(wanted)} of {family}, but {offer}")


def _change(text: str) -> tuple[str, str, Any]:
    """(family, option, value) of "family.option=value"; the family is "" for a setting."""
    dotted, equals, value = text.partition("=")
    family, _, option = dotted.rpartition(".")
    if not equals or not option or (family and family not in FAMILIES):
        raise ConfigError(f"--set {text}: expected device=cuda, or family.option=value as in tracker.window=15")
    try:
        return family, option, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text}: the value is not YAML") from None


def _identity(chosen: Chosen) -> dict[str, Any]:
    """JSON values of a component; a file stands for its content."""
    options = {name: _plain(getattr(chosen.options, name)) for name in type(chosen.options).model_fields}
    spec = chosen.component.spec
    return {"name": spec.name, "options": options, "revision": spec.revision, "version": chosen.component.origin}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return content_digest(value) if value.exists() else str(value)
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
