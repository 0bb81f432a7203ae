"""A run's config: YAML, checked against the components that are registered here and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, create_model, model_validator

from vswap_kernel.api import InputPath, Options, SwapPrompt
from vswap_kernel.errors import ConfigError, InputError, nearest_first
from vswap_kernel.hooks import FAMILIES
from vswap_kernel.registry import Component, Registry

_Model = TypeVar("_Model", bound=BaseModel)


Side = Annotated[int, Field(ge=1, le=16384)]
"""A width or a height in pixels."""


class VideoConfig(Options):
    """Which frames are edited, and at what size."""

    path: InputPath = Field(description="a video file, or a folder of frames")
    start: int = Field(0, ge=0, description="first frame of the edited range")
    frames: int | None = Field(None, ge=1, description="how many frames; none: to the end")
    stride: int = Field(1, ge=1, description="take every n-th frame")
    size: tuple[Side, Side] | None = Field(None, description="box [width, height] to scale into, aspect kept")
    fps: float | None = Field(None, gt=0, description="frame rate of a folder of frames; files know theirs")


class PointsConfig(Options):
    """The semantic points."""

    file: InputPath = Field(description="points file: JSON with the keyframe and named [x, y]")
    subject: str = Field("", description="category word of the subject, as in 'car'")


class PromptConfig(Options):
    """Texts for methods that read them."""

    source: str = Field("", description="what the source video shows")
    replace: dict[str, str] = Field(default_factory=dict, description="words of it: the new ones; the subject's first")

    @model_validator(mode="after")
    def _words_are_there(self) -> PromptConfig:
        absent = [words for words in self.replace if words not in self.source]
        if absent:
            raise ValueError(f"{absent[0]!r} is not in the source prompt {self.source!r}")
        return self

    @property
    def target(self) -> str:
        """The source prompt with the words replaced."""
        text = self.source
        for old, new in self.replace.items():
            text = text.replace(old, new)
        return text

    @property
    def swap(self) -> SwapPrompt:
        """Both texts; the words replaced first are the subject's."""
        return SwapPrompt(self.source, self.target, next(iter(self.replace.items()), ("", "")))


Moves = dict[str, tuple[FiniteFloat, FiniteFloat]]
"""New places (x, y) by the names of the points."""


class KeyframeMoves(Options):
    """Moves on one more keyframe."""

    frame: int = Field(ge=0, description="keyframe of these moves")
    move: Moves = Field(min_length=1, description="point: its new [x, y]")


class EditConfig(Options):
    """Changes to the points."""

    frame: int | None = Field(None, ge=0, description="keyframe of the moves; none: the points file's")
    move: Moves = Field(default_factory=dict, description="point: its new [x, y]")
    also: list[KeyframeMoves] = Field(default_factory=list, description="moves on further keyframes, blended over time")
    drop: list[str] = Field(default_factory=list, description="points that the swap does without")

    def keyframes(self, set_on: int) -> list[tuple[str, int, Moves]]:
        """(field, keyframe, moves) as listed; `set_on` is the frame that the points file sets the points on."""
        first = ("edit", set_on if self.frame is None else self.frame, self.move)
        return [first, *((f"edit.also.{i}", more.frame, more.move) for i, more in enumerate(self.also))]


class OutputConfig(Options):
    """How the result is written."""

    format: Literal["mp4", "mov", "webm", "gif"] = Field("mp4", description="container of the result")
    keep_rest: bool = Field(True, description="keep the frames outside the edited range, and the sound")


class Settings(Options):
    """The fields of a config that belong to no family."""

    video: VideoConfig
    points: PointsConfig
    prompt: PromptConfig = PromptConfig()
    edit: EditConfig = EditConfig()
    output: OutputConfig = OutputConfig()
    seed: int = Field(0, ge=0, description="seeds every random choice")
    device: str = Field("cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="cpu, cuda, cuda:1, mps")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


@dataclass(frozen=True)
class Chosen:
    """A component that a config names, and its checked options."""

    component: Component
    options: Options

    @property
    def name(self) -> str:
        """The component's name."""
        return self.component.spec.name


@dataclass(frozen=True)
class RunConfig:
    """A checked config. `families` holds the components named, but for the metrics, of which there may be many."""

    title: str
    settings: Settings
    families: Mapping[str, Chosen]
    metrics: tuple[Chosen, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values that make the same config again, from any folder."""
        plain = self.settings.model_dump(mode="json")
        plain |= {family: _plain(chosen) for family, chosen in self.families.items()}
        return plain | {"metrics": [_plain(chosen) for chosen in self.metrics]}


def _plain(chosen: Chosen) -> dict[str, Any]:
    return {"name": chosen.name} | chosen.options.model_dump(mode="json")


def load_config(path: Path, registry: Registry, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a config file; each override is "dotted.field=value", the value being YAML.

    Raises:
        InputError: no such file, not YAML.
        ConfigError: a field that is unknown, missing or of the wrong type.
        PluginError: two distributions offer a component that it names.
    """
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise InputError(f"{path}: not a config that can be read ({reason})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: not a config: expected fields such as `video:` and `tracker:`")
    for override in overrides:
        _override(data, override)
    return check_config(data, path, registry)


def _override(data: dict[str, Any], text: str) -> None:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set {text}: expected field=value, as in tracker.name=lucas-kanade")
    *parents, last = dotted.split(".")
    place: Any = data
    try:
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        place[int(last) if isinstance(place, list) else last] = yaml.safe_load(value)
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError):
        raise ConfigError(
            f"--set {text}: there is no place {dotted!r} in the config, or the value is not YAML"
        ) from None


def check_config(data: Mapping[str, Any], path: Path, registry: Registry) -> RunConfig:
    """Check plain values as `load_config` does; `path` is where they come from, its folder the base of their paths."""
    known = [*Settings.model_fields, *FAMILIES]
    unknown = [str(key) for key in data if key not in known]
    if unknown:
        raise ConfigError(f"{path}: unknown field {unknown[0]!r}; {nearest_first(unknown[0], known)}")
    own = {key: value for key, value in data.items() if key in Settings.model_fields}
    settings = _validated(Settings, own, path.parent, f"{path}: ")
    families = {}
    for family in FAMILIES:
        if family != "metrics" and data.get(family) is not None:
            families[family] = _choose(data[family], family, family, path, registry)
    for family, example in (("tracker", "lucas-kanade"), ("swapper", "warp")):
        if family not in families:
            raise ConfigError(f"{path}: no {family}; add `{family}: {{name: {example}}}`")
    listed = data.get("metrics") or []
    if not isinstance(listed, list):
        raise ConfigError(f"{path}: metrics: expected a list, as in `metrics: [{{name: background}}]`")
    metrics = [_choose(item, "metrics", f"metrics.{i}", path, registry) for i, item in enumerate(listed)]
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: metrics: {max(names, key=names.count)!r} stands there more than once")
    return RunConfig(path.stem, settings, families, tuple(metrics))


def component_options(component: Component, values: Mapping[str, Any], folder: Path) -> Options:
    """A component's options from plain values, paths relative to `folder`; raises ConfigError."""
    return _validated(component.spec.options, values, folder, f"{component.family}/{component.spec.name}: ", component)


def _choose(value: Any, family: str, where: str, path: Path, registry: Registry) -> Chosen:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ConfigError(f"{path}: {where}: expected a name and options, as in {{name: ...}}, got {value!r}")
    try:
        component = registry.get(family, value["name"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {where}.name: {error}") from None
    options = {key: item for key, item in value.items() if key != "name"}
    return Chosen(component, _validated(component.spec.options, options, path.parent, f"{path}: {where}.", component))


def _validated(
    model: type[_Model], values: Any, folder: Path, where: str, component: Component | None = None
) -> _Model:
    """Validate with the first problem told as one line that begins with `where`; paths are relative to `folder`."""
    try:
        return model.model_validate(values, context={"folder": folder})
    except ValidationError as error:
        first, *others = error.errors()
    where += ".".join(part for part in map(str, first["loc"]) if part.replace("_", "").isalnum())
    owner = f" of {component.spec.name} ({component.origin})" if component else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown option{owner}; {nearest_first(str(first['loc'][-1]), _fields_at(model, first['loc'][:-1]))}"
    elif first["type"] != "value_error":
        message = f"{message}, got {first['input']!r}" if first["type"] != "missing" else f"missing{owner}"
    others = [other for other in others if other["loc"][:1] != first["loc"][:1]]  # a field's own alternatives
    more = f" (and {len(others)} more)" if others else ""
    raise ConfigError(f"{where.rstrip('.')}: {message}{more}")


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The options that are known at a place inside a model."""
    for part in (part for part in place if isinstance(part, str)):  # not the numbers of a list's items
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        inner = get_args(inner)[0] if get_origin(inner) is list else inner
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def config_schema(registry: Registry) -> dict[str, Any]:
    """JSON schema of a config, for editors: each family is a union of its components, tagged by name."""
    schema = Settings.model_json_schema()
    for family in FAMILIES:
        members = []
        for component in registry.components(family):
            name = component.spec.name
            tagged = create_model(
                name, __base__=component.spec.options, name=(str, Field(json_schema_extra={"const": name}))
            )
            member = tagged.model_json_schema() | {"description": component.spec.summary}
            schema["$defs"].update(member.pop("$defs", {}))
            members.append(member)
        union = {"oneOf": members, "discriminator": {"propertyName": "name"}}
        schema["properties"][family] = {"type": "array", "items": union} if family == "metrics" else union
    schema["required"] = [*schema["required"], "tracker", "swapper"]
    return schema
