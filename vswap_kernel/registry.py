"""Which components exist. Discovery never fails: a plugin that can't be used is a row that says why.

Pluggy's own entry-point loader stops at the first broken plugin and drops a second entry point of the same name
without a word (1.7), so the loop is ours.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pluggy

from vswap_kernel import hooks
from vswap_kernel.api import API_VERSION, PROJECT, ComponentSpec, Context, Options, hookimpl
from vswap_kernel.errors import ConfigError, MissingExtraError, PluginError, nearest_first

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HOOKS = frozenset(name for name in vars(hooks) if name.startswith("vswap_"))


@dataclass(frozen=True)
class Component:
    """A spec and where it comes from."""

    family: str
    spec: ComponentSpec
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Distribution and version, as error messages name them."""
        return f"{self.distribution} {self.version}"

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages it needs that aren't installed."""
        return tuple(name for name in self.spec.requires if not _installed(name))

    def load(self, reference: str) -> Any:
        """Import what "package.module:name" names.

        Raises:
            MissingExtraError: its packages aren't installed.
            PluginError: its code can't be imported.
        """
        what = f"{self.family} {self.spec.name!r} ({self.origin})"
        if self.missing:
            todo = self.spec.install or f"pip install {' '.join(self.missing)}"
            raise MissingExtraError(f"{what} needs {', '.join(self.missing)}, not installed here; run: {todo}")
        module, _, name = reference.partition(":")
        try:
            return getattr(import_module(module), name)
        except Exception as error:
            raise PluginError(f"{what}: can't load {reference} ({type(error).__name__}: {error})") from error

    def create(self, options: Options, context: Context) -> Any:
        """Make the component."""
        return self.load(self.spec.factory)(options, context)


@dataclass
class Plugin:
    """One entry point. status: "ok", or "broken", "missing dependency", "misspelt hook", "duplicate", "conflict",
    "newer API"; `problem` is one line, `trace` the traceback if there was one."""

    name: str
    distribution: str
    version: str
    status: str = "ok"
    problem: str = ""
    trace: str = ""
    components: list[Component] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"

    def fail(self, status: str, problem: str, trace: str = "") -> None:
        """Note what is wrong; the first problem found stays."""
        if self.status == "ok":
            self.status, self.problem, self.trace = status, problem, trace


class _Kernel:
    """What happens where no plugin steps in."""

    @hookimpl(trylast=True)
    def vswap_run_stage(self, call: Callable[[], bool]) -> bool:
        return call()


class Registry:
    """The plugins found and their components."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hooks)
        self._manager.register(_Kernel(), "kernel")
        self.plugins: list[Plugin] = []

    @classmethod
    def discover(cls) -> Registry:
        """Load every entry point of group `vswap`."""
        registry = cls()
        found = [(_origin(entry), entry) for entry in metadata.entry_points(group=PROJECT)]
        for (distribution, version), entry in sorted(found, key=lambda item: (item[0], item[1].name, item[1].value)):
            registry.add(entry.load, entry.name, distribution, version)
        return registry

    @property
    def hook(self) -> Any:
        """The pluggy hook caller: `registry.hook.vswap_cases()` asks every plugin."""
        return self._manager.hook

    def ask(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        """For each implementation of a hook, last registered first: the plugin's "distribution:name", and the call.

        So that one that fails can be named, and keeps nobody else from answering.
        """
        for found in reversed(getattr(self.hook, hook).get_hookimpls()):
            given = [arguments[name] for name in found.argnames]
            yield found.plugin_name, partial(found.function, *given)

    def add(self, load: Any, name: str, distribution: str, version: str) -> Plugin:
        """Register the module that `load()` returns, and note what is wrong with it instead of raising."""
        plugin = Plugin(name, distribution, version)
        self.plugins.append(plugin)
        try:
            self._register(plugin, load())
        except ModuleNotFoundError as error:
            plugin.fail("missing dependency", f"{error}; install the package that has it", traceback.format_exc())
        except (Exception, SystemExit) as error:
            plugin.fail("broken", f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
        return plugin

    def _register(self, plugin: Plugin, module: ModuleType) -> None:
        key = f"{plugin.distribution}:{plugin.name}"
        if self._manager.has_plugin(key) or self._manager.is_registered(module):
            plugin.fail("duplicate", f"entry point {plugin.name!r} of {plugin.distribution} is registered twice")
            return
        for attribute, value in vars(module).items():
            if hasattr(value, f"{PROJECT}_impl") and attribute not in _HOOKS:
                plugin.fail("misspelt hook", f"no hook is called {attribute!r}; {nearest_first(attribute, _HOOKS)}")
                return
        self._manager.register(module, key)
        try:
            plugin.components = self._collected(plugin, module)
        except BaseException:
            self._manager.unregister(module)
            raise

    def _collected(self, plugin: Plugin, module: ModuleType) -> list[Component]:
        components = []
        for family, hook in hooks.FAMILIES.items():
            function: Any = getattr(module, hook, None)
            if hasattr(function, f"{PROJECT}_impl"):
                components += [self._checked(plugin, family, hook, spec) for spec in function()]
        names = [f"{component.family} {component.spec.name!r}" for component in components]
        if len(set(names)) < len(names):
            raise PluginError(f"{max(names, key=names.count)} is yielded twice; give each its own name")
        return components

    def _checked(self, plugin: Plugin, family: str, hook: str, spec: object) -> Component:
        if not isinstance(spec, ComponentSpec):
            raise PluginError(f"{hook} yielded {type(spec).__name__}, expected ComponentSpec")
        if not _NAME.fullmatch(spec.name):
            raise PluginError(f"{hook}: component name {spec.name!r} is not lower case with dashes")
        if spec.api > API_VERSION:
            problem = f"{spec.name!r} is made for API {spec.api}, this vswap has {API_VERSION}; upgrade vswap"
            plugin.fail("newer API", problem)
        for other in self._named(family, spec.name):
            if other.distribution != plugin.distribution:
                problem = f"{family} {spec.name!r} also comes from {other.origin}; uninstall one of the two"
                plugin.fail("conflict", problem)
                self._plugin_of(other).fail("conflict", problem.replace(other.origin, plugin.origin))
        return Component(family, spec, plugin.distribution, plugin.version)

    def _plugin_of(self, component: Component) -> Plugin:
        return next(plugin for plugin in self.plugins if component in plugin.components)

    def _named(self, family: str, name: str) -> list[Component]:
        return [c for c in self.components(family) if c.spec.name == name]

    def components(self, family: str) -> list[Component]:
        """All components of a family, sorted by name and distribution."""
        found = (c for plugin in self.plugins for c in plugin.components if c.family == family)
        return sorted(found, key=lambda c: (c.spec.name, c.distribution))

    def get(self, family: str, name: str) -> Component:
        """The component of that name.

        Raises:
            ConfigError: nobody offers it; the nearest names are listed.
            PluginError: two distributions offer it, or it is made for a newer API.
        """
        found = self._named(family, name)
        if not found:
            ill = [p for p in self.plugins if p.status in ("broken", "missing dependency", "misspelt hook")]
            broken = [f"; plugin {p.name!r} ({p.origin}) is {p.status}: {p.problem}" for p in ill]
            hint = nearest_first(name, {c.spec.name for c in self.components(family)})
            raise ConfigError(f"unknown {family} {name!r}; {hint}{''.join(broken)}")
        if len(found) > 1:
            origins = " and ".join(sorted(component.origin for component in found))
            raise PluginError(f"{family} {name!r} is offered by {origins}; uninstall one of the two")
        (component,) = found
        if component.spec.api > API_VERSION:
            asked = f"{family} {name!r} ({component.origin}) is made for API {component.spec.api}"
            raise PluginError(f"{asked}, this vswap has {API_VERSION}; upgrade vswap")
        return component

    def create(self, family: str, name: str, options: Mapping[str, Any], context: Context) -> Any:
        """Make a component from plain option values; raises as `get` and `Component.create` do."""
        component = self.get(family, name)
        return component.create(component.spec.options.model_validate(dict(options)), context)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _origin(entry: metadata.EntryPoint) -> tuple[str, str]:
    dist: metadata.Distribution | None = entry.dist
    return (dist.name, dist.version) if dist is not None else ("unknown", "0")
