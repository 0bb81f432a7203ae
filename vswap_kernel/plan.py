"""From a config to stages: what depends on what, under which key each result is kept, and why one is computed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from vswap_kernel import stages
from vswap_kernel.api import Facts
from vswap_kernel.config import Chosen, RunConfig
from vswap_kernel.errors import ConfigError, PluginError
from vswap_kernel.models import MODELS, lent_families
from vswap_kernel.points import check_points, read_points
from vswap_kernel.registry import Registry
from vswap_kernel.store import Store, content_digest
from vswap_kernel.types import PointEdit, PointQueries
from vswap_kernel.video import Selection, Source, open_source, working_size

_IO_REVISION = 1  # raise it when decoding or encoding gives other bytes


def key_of(name: str, ingredients: Mapping[str, Any]) -> str:
    """Under which a result made of these ingredients is kept."""
    return hashlib.sha256(json.dumps([name, ingredients], sort_keys=True).encode()).hexdigest()[:40]


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of a run.

    Attributes:
        name: "source", "tracks", ..., "metric:background".
        component: "family/name", or "" for the kernel's own steps.
        inputs: the stages whose results it reads.
        ingredients: all that its result depends on, as JSON values. Device and scratch paths are not in it.
        work: what is done, and how its result is read back.
    """

    name: str
    component: str
    inputs: tuple[str, ...]
    ingredients: Mapping[str, Any]
    work: stages.Work

    @property
    def key(self) -> str:
        """Name of the result in the store."""
        return key_of(self.name, self.ingredients)


@dataclass(frozen=True)
class Plan:
    """The stages of a run, in an order in which they can run."""

    config: RunConfig
    stages: tuple[Stage, ...]

    @property
    def key(self) -> str:
        """Names the whole run: equal for equal results."""
        return hashlib.sha256("".join(stage.key for stage in self.stages).encode()).hexdigest()[:8]

    def rows(self, store: Store) -> list[dict[str, str]]:
        """For each stage: hit or miss, and for a miss which input changed since the nearest stored result."""
        entries, rows = store.entries(), []
        for stage in self.stages:
            hit = store.has(stage.key)
            same = [entry.ingredients for entry in entries if entry.stage == stage.name]
            why = "" if hit else explain(stage.ingredients, same)
            row = {"stage": stage.name, "component": stage.component, "state": "hit" if hit else "miss", "why": why}
            rows.append(row | {"key": stage.key})
        return rows


def explain(ingredients: Mapping[str, Any], stored: Iterable[Mapping[str, Any]]) -> str:
    """What differs from the nearest of the stored results of the same stage."""
    mine = dict(_leaves(ingredients))
    best: list[str] | None = None
    for other in stored:
        theirs = dict(_leaves(other))
        names = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        changes = [_change(name, theirs.get(name), mine.get(name)) for name in names]
        best = changes if best is None or len(changes) < len(best) else best
    return "never computed" if best is None else ", ".join(best)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _change(name: str, old: Any, new: Any) -> str:
    kind, _, rest = name.partition(".")
    if kind == "inputs":
        return f"{rest} changed"
    return f"content of {name} changed" if "sha256:" in f"{old}{new}" else f"{name}: {old} -> {new}"


def make_plan(config: RunConfig, registry: Registry) -> Plan:
    """Check what can be checked before anything is computed, and lay out the stages.

    Raises:
        InputError: the video, the points or another input can't be used.
        ConfigError: components that don't fit together, unknown points.
        MissingExtraError: a component's packages aren't installed.
    """
    video = config.settings.video
    source = _opened(video.path, registry) or open_source(video.path, video.fps)
    selection = Selection(video.start, video.frames, video.stride, video.size)
    frames, size = len(selection.indices(source)), working_size(source, selection)
    queries = check_points(read_points(config.settings.points.file), size, frames)
    _check_edit(config, queries, frames, size)
    _check_fit(config)
    place = (selection.start, selection.stride, source.frames)
    facts = Facts(frames, size, queries.names, *place, _described(config), config.settings.prompt.swap)
    for chosen in [*config.families.values(), *config.metrics]:
        if chosen.component.spec.preflight:
            chosen.component.load(chosen.component.spec.preflight)(chosen.options, facts)
        elif chosen.component.missing:
            chosen.component.load("")  # says what to install
    return Plan(config, tuple(_Builder(config, source, selection, queries).build()))


def _described(config: RunConfig) -> dict[str, Mapping[str, Any]]:
    specs = {family: (chosen, chosen.component.spec.describe) for family, chosen in config.families.items()}
    return {family: chosen.component.load(told)(chosen.options) for family, (chosen, told) in specs.items() if told}


def _opened(path: Path, registry: Registry) -> Source | None:
    for plugin, call in registry.ask("vswap_open_video", path=path):
        try:
            if source := call():
                return cast(Source, source)
        except Exception as error:
            raise PluginError(f"plugin {plugin} failed to open {path}: {type(error).__name__}: {error}") from error
    return None


def _check_edit(config: RunConfig, queries: PointQueries, frames: int, size: tuple[int, int]) -> None:
    edit, taken = config.settings.edit, dict[int, str]()
    for where, frame, move in edit.keyframes(int(queries.frame[0])):
        _check_known(f"{where}.move", move, queries)
        if frame >= frames:
            raise ConfigError(f"{where}.frame: {frame} is beyond the end, the video has {frames} frames")
        if move and taken.setdefault(frame, where) != where:
            raise ConfigError(f"{where}.frame: {frame} is the keyframe of {taken[frame]}.move too; join the two")
        for name, place in move.items():
            if any(not -side <= value <= 2 * side for value, side in zip(place, size, strict=True)):
                raise ConfigError(f"{where}.move: {name!r} to {place} is far outside the {size[0]}x{size[1]} frame")
    _check_known("edit.drop", edit.drop, queries)
    if set(edit.drop) >= set(queries.names):
        raise ConfigError("edit.drop: no point is left; a swap needs at least one")
    if taken and "canonical" not in config.families:
        raise ConfigError("edit.move needs a canonical component to carry it; add `canonical: {name: homography}`")


def _check_known(field: str, names: Iterable[str], queries: PointQueries) -> None:
    for name in names:
        if name not in queries.names:
            raise ConfigError(f"{field}: there is no point {name!r}; known: {', '.join(queries.names)}")


def _check_fit(config: RunConfig) -> None:
    everybody = [*config.families.items(), *(("metric", metric) for metric in config.metrics)]
    for family, chosen in everybody:
        for other, wanted in chosen.component.spec.accepts.items():
            what = f"{family} {chosen.name!r} ({chosen.component.origin})"
            kind, a = f" that offers {' or '.join(wanted)}" if wanted else "", "an" if other[0] in "aeiou" else "a"
            if other not in config.families:
                raise ConfigError(f"{what} needs {a} {other} component{kind}; add `{other}: {{name: ...}}`")
            has = config.families[other].component.spec.capabilities
            if wanted and not set(wanted) & set(has):
                offer = f"{config.families[other].name!r} offers {', '.join(has) or 'nothing'}"
                raise ConfigError(f"{what} needs {a} {other}{kind}, but {offer}")


class _Builder:
    """Lays out the stages one after the other; the key of each holds the keys of its inputs."""

    def __init__(self, config: RunConfig, source: Source, selection: Selection, queries: PointQueries) -> None:
        self.config, self.source, self.selection, self.queries = config, source, selection, queries
        self.settings, self.families = config.settings, config.families
        self.stages: dict[str, Stage] = {}
        self._digests: dict[Path, str] = {}

    def build(self) -> Iterable[Stage]:
        queries, subject = {"queries": self.queries.digest()}, self.settings.points.subject
        video = self._content(self.settings.video.path)
        facts = {"video": video, "selection": vars(self.selection), "fps": self.settings.video.fps}
        self._add("source", (), stages.Decode(self.source, self.selection), facts | {"revision": _IO_REVISION})
        self._add("tracks", ("source",), stages.Track(self.families["tracker"], self.queries), queries, "tracker")
        if "masks" in self.families:
            self._add("masks", ("source",), stages.Segment(self.families["masks"], self.queries), queries, "masks")
        if "embedder" in self.families:
            embed = stages.Embed(self.families["embedder"], subject)
            self._add("embeddings", ("source", "tracks"), embed, {"subject": subject}, "embedder")
        self._add_targets()
        self._add_swap()
        for metric in self.config.metrics:
            measure = stages.Measure(metric, self.families["tracker"])
            tracker = self.families["tracker"]
            judge = {"tracker": self._identity(tracker) | self._lent(tracker)}
            self._add(f"metric:{metric.name}", ("source", "masks", "targets", "swap"), measure, judge, metric)
        encode = stages.Encode(self.source, self.selection, self.settings.output)
        output = {"output": self.settings.output.model_dump(), "revision": _IO_REVISION}
        self._add("result", ("swap",), encode, facts | output)
        return self.stages.values()

    def _add_targets(self) -> None:
        edit, drop = self.settings.edit, frozenset(self.settings.edit.drop)
        listed = [PointEdit(frame, move, drop) for _, frame, move in edit.keyframes(int(self.queries.frame[0]))]
        asked = tuple(sorted((one for one in listed if one.move), key=lambda one: one.frame) or listed[:1])
        canonical = self.families.get("canonical") if asked[0].move else None
        if canonical is not None:
            self._add("canonical", ("source", "masks", "tracks"), stages.Fit(canonical), {}, "canonical")
        extra: dict[str, Any] = {"frame": asked[0].frame, "move": asked[0].move, "drop": edit.drop}
        extra |= {"also": {one.frame: one.move for one in asked[1:]}} if asked[1:] else {}
        aim = stages.Aim(canonical, asked)
        self._add("targets", ("tracks", "canonical"), aim, {"edit": self._plain(extra)}, canonical)

    def _add_swap(self) -> None:
        swapper, prompt = self.families["swapper"], self.settings.prompt
        reads = swapper.component.spec.prepare_reads
        wanted = ("tracks", "masks", "embeddings", "prompt", "backbone", "motion") if reads is None else reads
        parts = tuple(name for name in MODELS if name in self.families and name in swapper.component.spec.accepts)
        models = tuple(name for name in parts if name != "concept")
        used: dict[str, Any] = {name: self._identity(self.families[name]) for name in models if name in wanted}
        read = used | ({"prompt": prompt.source} if "prompt" in wanted else {})
        inputs = ("source", *(name for name in ("tracks", "masks", "embeddings") if name in wanted))
        preparing = stages.Prepare(stages.JobParts(swapper, models, prompt.swap), wanted)
        self._add("prepare", inputs, preparing, read, swapper, skip="swap")
        everything = ("source", "tracks", "masks", "embeddings", "targets", "prepare")
        extra = {name: self._identity(self.families[name]) for name in parts} | {"prompt": prompt.swap}
        self._add("swap", everything, stages.Swap(stages.JobParts(swapper, parts, prompt.swap)), extra, swapper)

    def _add(
        self,
        name: str,
        inputs: tuple[str, ...],
        work: stages.Work,
        extra: Mapping[str, Any],
        by: str | Chosen | None = None,
        skip: str = "",
    ) -> None:
        """Add a stage: of the component `by` (or of the family so called), or the kernel's own. Inputs that this config
        doesn't have are left out."""
        chosen = self.families[by] if isinstance(by, str) else by
        present = tuple(stage for stage in inputs if stage in self.stages)
        ingredients = {"inputs": {stage: self.stages[stage].key for stage in present}, **extra}
        if chosen is not None:
            ingredients |= self._identity(chosen, skip) | self._lent(chosen)
        component = f"{chosen.component.family}/{chosen.name}" if chosen else ""
        self.stages[name] = Stage(name, component, present, ingredients, work)

    def _lent(self, chosen: Chosen) -> dict[str, Any]:
        """The identities of the components that it is given, and of what those are given."""
        lent = {family: self.families[family] for family in lent_families(chosen.component)}
        return {family: self._identity(other) | self._lent(other) for family, other in lent.items()}

    def _identity(self, chosen: Chosen, skip: str = "") -> dict[str, Any]:
        """What a component's result depends on besides its inputs; options of the stage `skip` don't count."""
        spec, options = chosen.component.spec, {}
        for name, field in type(chosen.options).model_fields.items():
            extra = field.json_schema_extra
            if not (skip and isinstance(extra, dict) and extra.get("stage") == skip):
                options[name] = self._plain(getattr(chosen.options, name))
        identity: dict[str, Any] = {"component": f"{chosen.component.family}/{chosen.name}", "options": options}
        identity |= {"revision": spec.revision, "version": chosen.component.origin, "dtype": self.settings.dtype}
        return identity | ({"seed": self.settings.seed} if spec.seeded else {})

    def _plain(self, value: Any) -> Any:
        """JSON values; a file stands for its content, so that moving it changes nothing and editing it does."""
        if isinstance(value, Path):
            return self._content(value)
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): self._plain(item) for key, item in value.items()}
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def _content(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = f"sha256:{content_digest(path)}"
        return self._digests[path]
