"""Runs a config: each stage once, its result kept, and a folder that tells what was done."""

from __future__ import annotations

import fcntl
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from vswap_kernel.api import Context, FinishedRun, StageEvent
from vswap_kernel.config import RunConfig, load_config
from vswap_kernel.errors import InputError, PluginError, StoreError, VswapError
from vswap_kernel.models import Models
from vswap_kernel.plan import Plan, Stage, key_of, make_plan
from vswap_kernel.registry import Registry
from vswap_kernel.store import Store, default_store
from vswap_kernel.types import Masks, Measurement, SwapResult, Video

Observer = Callable[[StageEvent], None]
_LEFT = ("metrics.json", "report.html", "events.jsonl")


@dataclass(frozen=True)
class RunOutcome:
    """What a run leaves: its folder, the encoded video, the report (None when nobody writes one), and each metric's
    numbers by "metric.value"."""

    folder: Path
    video: Path
    report: Path | None
    metrics: Mapping[str, float | None]


class _Events:
    """Tells everybody what happens: the file events.jsonl, the observer, and every plugin that watches."""

    def __init__(self, file: Path, observer: Observer | None, registry: Registry) -> None:
        self._file, self._observer = file, observer
        self._registry, self._failed = registry, set[str]()

    def __call__(self, event: StageEvent) -> None:
        if event.kind != "progress":
            with self._file.open("a") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **asdict(event)}) + "\n")
        if self._observer:
            self._observer(event)
        for plugin, call in self._registry.ask("vswap_stage_event", event=event):
            try:
                _ = plugin in self._failed or call()
            except Exception as error:
                self._failed.add(plugin)  # it is told of once, and not asked again
                what = f"plugin {plugin} failed while watching: {type(error).__name__}: {error}"
                self(StageEvent("warning", event.stage, what))


def run_config(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    store: Path | None = None,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> RunOutcome:
    """Run the config file `path`. `out` is the run folder (default: runs/NAME-KEY, the key being that of the plan).

    Raises:
        VswapError: one line that says what is wrong and what to do.
    """
    registry = registry or Registry.discover()
    config = load_config(path, registry, overrides)
    plan = make_plan(config, registry)
    folder = out or Path("runs") / f"{config.title}-{plan.key}"
    _spare_inputs(folder, path, config)
    kept = Store(store or default_store())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _describe(folder, config, plan, registry)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another with --out") from None
    tell = _Events(folder / "events.jsonl", observer, registry)
    artefacts: dict[str, Any] = {}
    with kept.in_use(), TemporaryDirectory() as scratch:
        context = Context(Path(scratch), config.settings.device, config.settings.dtype, config.settings.seed)
        context = replace(context, components=Models(config.families, context))
        for stage in plan.stages:
            _ensure(stage, context, kept, artefacts, registry, tell)
            artefacts[stage.name] = _load(stage, kept)
        try:
            with (folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the same config may be filling the folder
                return _finish(folder, plan, kept, artefacts, registry, tell)
        except OSError as error:
            raise InputError(f"{folder}: can't be written ({error.strerror}); free space or choose another") from None


def _spare_inputs(folder: Path, path: Path, config: RunConfig) -> None:
    """Refuse a run folder that holds a file which the run reads: it might be written over."""
    chosen = [*config.families.values(), *config.metrics]
    values = [value for one in chosen for value in vars(one.options).values()]
    read = [path, config.settings.video.path, config.settings.points.file]
    for file in (*read, *(value for value in values if isinstance(value, Path))):
        if file.is_file() and file.resolve().parent == folder.resolve():
            raise InputError(f"{folder}: holds {file.name}, which this run reads; choose another with --out")


def _load(stage: Stage, store: Store) -> Any:
    try:
        return stage.work.load(store.path(stage.key))
    except (StoreError, OSError, ValueError, TypeError, KeyError) as error:
        where = f"{store.path(stage.key)}: the stored result of {stage.name!r} is damaged"
        raise StoreError(f"{where} ({error}); `vswap store prune --damaged` removes it, then run again") from None


def _ensure(
    stage: Stage, context: Context, store: Store, artefacts: Mapping[str, Any], registry: Registry, tell: Observer
) -> None:
    """Have the stage's result in the store: found there, or computed now. `context` is the run's."""
    if not store.has(stage.key):
        tell(StageEvent("start", stage.name, stage.component))
    with store.exclusive(stage.key) as scratch:
        spoilt = store.has(stage.key) and store.damaged(stage.key)
        if spoilt:
            what = f"what was stored is damaged ({', '.join(spoilt)}), and is computed again"
            tell(StageEvent("warning", stage.name, what))
        elif store.has(stage.key):  # before, or by another process while this one waited
            store.touch(stage.key)
            shutil.rmtree(scratch, ignore_errors=True)  # left by one killed just after it had stored its result
            return tell(StageEvent("hit", stage.name, stage.component))
        began = time.perf_counter()
        progress = partial(_progress, tell, stage.name)
        own = replace(context, scratch=scratch, progress=progress, keep=partial(_kept_part, stage, store))
        inputs = {name: artefacts[name] for name in stage.inputs}
        try:
            with store.put(stage.key, stage.name, stage.ingredients) as folder:

                def call() -> bool:
                    stage.work.run(inputs, own, folder)
                    return True

                registry.hook.vswap_run_stage(stage=stage, call=call)
        except Exception as error:
            tell(StageEvent("fail", stage.name, str(error)))
            if isinstance(error, VswapError):
                raise
            what = f"{stage.name}: {stage.component or 'the kernel'} ({stage.ingredients.get('version', 'vswap')})"
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PluginError(f"{what} failed: {reason}; --debug shows where") from error
        tell(StageEvent("done", stage.name, stage.component, seconds=time.perf_counter() - began))
    return None


def _kept_part(
    stage: Stage, store: Store, name: str, reads: Sequence[str], options: Any, make: Callable[[Path, Path], None]
) -> Path:
    """See `Context.part`. Of the component, version and revision are in its key; of its options, those given."""
    known, always = {**stage.ingredients, **stage.ingredients["inputs"]}, ("component", "revision", "version", "dtype")
    ingredients = {"inputs": {}, "options": options} | {key: known.get(key) for key in (*always, *reads)}
    key = key_of(name, ingredients)
    with store.exclusive(key) as scratch:
        if not store.has(key) or store.damaged(key):
            with store.put(key, name, ingredients) as folder:
                make(scratch, folder)
        store.touch(key)
    return store.path(key)


def _progress(tell: Observer, stage: str, done: int, total: int, note: str = "") -> None:
    tell(StageEvent("progress", stage, note, done, total))


def _describe(folder: Path, config: RunConfig, plan: Plan, registry: Registry) -> None:
    """Say in the run folder what is about to be done. What another plan left there goes: nothing old beside new."""
    rows = [{"stage": stage.name, "component": stage.component, "key": stage.key} for stage in plan.stages]
    listed = json.dumps(rows, indent=1)
    before = folder / "plan.json"
    if before.exists() and before.read_text() != listed:
        for path in (*folder.glob("result.*"), *(folder / name for name in _LEFT)):
            path.unlink(missing_ok=True)
    _write(folder / "config.yaml", yaml.safe_dump(config.as_dict(), sort_keys=False))
    _write(before, listed)
    packages = {dist.name: dist.version for dist in metadata.distributions()}
    origins = {f"{p.distribution}:{p.name}": f"{p.version} {p.status}" for p in registry.plugins}
    found = {"python": platform.python_version(), "platform": platform.platform(), "plugins": origins}
    _write(folder / "environment.json", json.dumps(found | {"packages": packages}, indent=1, sort_keys=True))


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _finish(
    folder: Path, plan: Plan, store: Store, artefacts: Mapping[str, Any], registry: Registry, tell: Observer
) -> RunOutcome:
    """Fill the run folder: links to the stages, the result, the metrics, the reports."""
    links = folder / "stages"
    links.mkdir(exist_ok=True)
    for stage in plan.stages:
        link = links / stage.name.replace(":", "-")
        link.unlink(missing_ok=True)
        link.symlink_to(store.path(stage.key))
    encoded: Path = artefacts["result"]
    video = folder / encoded.name
    _place(encoded, video)
    measured = {key.removeprefix("metric:"): m.as_json() for key, m in artefacts.items() if isinstance(m, Measurement)}
    _write(folder / "metrics.json", json.dumps(measured, indent=1, sort_keys=True))
    source: Video = artefacts["source"]
    swap: SwapResult = artefacts["swap"]
    finished = FinishedRun(folder, plan.config.title, source, swap.video, artefacts, video)
    pages = []
    for plugin, call in registry.ask("vswap_write_report", run=finished):
        try:
            pages.append(call())
        except Exception as error:
            what = f"plugin {plugin} could not write its report: {type(error).__name__}: {error}"
            tell(StageEvent("warning", "report", what))
    for artefact in artefacts.values():
        if isinstance(artefact, Video | Masks):
            artefact.release()
    values = {f"{m}.{name}": value for m, data in measured.items() for name, value in data["values"].items()}
    return RunOutcome(folder, video, next((page for page in pages if page), None), values)


def _place(stored: Path, target: Path) -> None:
    """Copy a stored file into the run folder, whole or not at all; nobody can damage the store through it."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(stored, temporary)
    temporary.replace(target)
