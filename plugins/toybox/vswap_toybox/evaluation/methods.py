"""The methods: a name stands for changes to the job that `write_clip` makes of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vswap_kernel.errors import ConfigError, InputError, nearest_first
from vswap_toybox.clip import Clip

SOURCE = "source"
BUILT_IN = ("source", "warp")
ABLATIONS = Path("examples/ablations")


@dataclass(frozen=True)
class Method:
    """Attributes:
    name: how it is called in the results.
    fields: fields of a config that replace the job's; null takes one away.
    folder: what paths in them are relative to.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def job(self, clip: Clip, config: Path, moves: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        """The whole config for `clip`, whose own job is the file `config`; to be written beside it.

        It says in words what the subjects are, as methods that read text need; it names no metrics, for all methods are
        judged alike afterwards.
        """
        data: dict[str, Any] = yaml.safe_load(config.read_text())
        old, new = (subject.caption.removeprefix("a ") for subject in (clip.subject, clip.target))
        data["points"]["subject"] = clip.subject.name
        data["prompt"] = {"source": f"{clip.subject.caption} {clip.scene.caption}", "replace": {old: new}}
        data["edit"] = {"frame": clip.keyframe, "move": {name: list(place) for name, place in moves.items()}}
        words = {"{source}": old, "{target}": new, "{scene}": clip.scene.caption}
        words |= {"{source_class}": clip.subject.name, "{target_class}": clip.target.name}
        data |= {key: self._filled(value, words) for key, value in self.fields.items()}
        return {key: value for key, value in data.items() if value is not None} | {"metrics": []}

    def _filled(self, value: Any, words: Mapping[str, str]) -> Any:
        """`value` with the words of this clip in it, and absolute paths for what is a file beside the method's own."""
        if isinstance(value, dict):
            return {
                self._filled(key, words): item if key == "name" else self._filled(item, words)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._filled(item, words) for item in value]
        if not isinstance(value, str):
            return value
        for word, text in words.items():
            value = value.replace(word, text)
        beside = self.folder / value
        looks_like_a_path = "/" in value or beside.suffix
        return str(beside.resolve()) if looks_like_a_path and beside.exists() else value


def find_methods(text: str) -> list[Method]:
    """The methods of "warp,point-diffusion,mine/other.yaml".

    Each is built in, a YAML file, or the name of one in `examples/ablations/` of the current folder.

    Raises:
        ConfigError: no such method, or one twice.
        InputError: a file that isn't such a YAML.
    """
    methods = [_find(name.strip()) for name in text.split(",") if name.strip()]
    names = [method.name for method in methods]
    if not methods:
        raise ConfigError("--methods: none is named; as in --methods source,warp")
    if len(set(names)) < len(names):
        raise ConfigError(f"--methods: {max(names, key=names.count)!r} stands there more than once")
    return methods


def _find(name: str) -> Method:
    if name in BUILT_IN:
        return Method(name)
    path = Path(name) if name.endswith((".yaml", ".yml")) else ABLATIONS / f"{name}.yaml"
    if path.is_file():
        return read_method(path)
    if path.suffix and path == Path(name):
        raise InputError(f"--methods: {path}: no such file")
    known = [*BUILT_IN, *(file.stem for file in ABLATIONS.glob("*.yaml"))]
    raise ConfigError(f"--methods: no method {name!r}, nor a file {path}; {nearest_first(name, known)}")


def read_method(path: Path) -> Method:
    """The method of a YAML file; raises InputError for another kind of file, ConfigError for a name that is taken."""
    return Method(path.stem, _fields(path), path.parent)


def _fields(path: Path) -> dict[str, Any]:
    if path.stem in (*BUILT_IN, "answer"):
        raise ConfigError(f"--methods: {path}: the name {path.stem!r} is taken; rename the file")
    data = _read(path)
    if (base := data.pop("base", None)) is None:
        return data
    found = path.with_name(base) if isinstance(base, str) and base == Path(base).name else None
    if found is None or not found.is_file():
        raise InputError(f"--methods: {path}: base: there is no file {base!r} beside it")
    below = _read(found)
    if "base" in below:
        raise InputError(f"--methods: {path}: base: {base} has a base itself; name that one")
    return below | {name: _over(below.get(name), value) for name, value in data.items()}


def _over(below: Any, value: Any) -> Any:
    """A component without a name is the base's own with other options."""
    same = isinstance(below, dict) and isinstance(value, dict) and "name" in below and "name" not in value
    return below | value if same else value


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--methods: {path}: can't be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"--methods: {path}: expected fields of a config, as in `swapper: {{name: point-diffusion}}`")
    return data
