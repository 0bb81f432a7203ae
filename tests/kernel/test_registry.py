from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import pytest

import small_plugin
from small_plugin import made_up
from vswap_kernel.api import API_VERSION, ComponentSpec, Context, hookimpl
from vswap_kernel.errors import ConfigError, MissingExtraError, PluginError
from vswap_kernel.registry import Registry


def module(**attributes: Any) -> Callable[[], ModuleType]:
    made = ModuleType("made")
    vars(made).update(attributes)
    return lambda: made


def yielding(*specs: object) -> Callable[[], ModuleType]:
    @hookimpl
    def vswap_trackers() -> Iterable[Any]:
        return specs

    return module(vswap_trackers=vswap_trackers)


def raising(error: BaseException) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        raise error

    return load


def test_a_working_plugin_offers_its_components(registry: Registry) -> None:
    assert [c.spec.name for c in registry.components("swapper")] == ["paint", "picky"]
    assert registry.get("tracker", "drift").origin == "vswap-small 0.3"


@pytest.mark.parametrize("error", [ImportError("lib.so"), SyntaxError("oops"), SystemExit(3), ValueError("two\nlines")])
def test_a_plugin_that_raises_on_import_is_a_row_of_one_line(registry: Registry, error: BaseException) -> None:
    plugin = registry.add(raising(error), "bad", "vswap-bad", "1")
    assert plugin.status == "broken"
    assert type(error).__name__ in plugin.problem
    assert "\n" not in plugin.problem
    assert type(error).__name__ in plugin.trace
    assert registry.get("tracker", "drift")


def test_a_plugin_whose_package_is_missing_is_told_apart(registry: Registry) -> None:
    plugin = registry.add(raising(ModuleNotFoundError("No module named 'numba'")), "bad", "vswap-bad", "1")
    assert plugin.status == "missing dependency"
    assert "numba" in plugin.problem


def test_a_misspelt_hook_is_named_with_the_right_one(registry: Registry) -> None:
    @hookimpl
    def vswap_tracker() -> Iterable[ComponentSpec]:
        return ()

    plugin = registry.add(module(vswap_tracker=vswap_tracker), "typo", "vswap-typo", "1")
    assert plugin.status == "misspelt hook"
    assert "'vswap_tracker'" in plugin.problem
    assert "did you mean 'vswap_trackers'?" in plugin.problem


def test_a_hook_with_arguments_that_do_not_exist_is_broken(registry: Registry) -> None:
    @hookimpl
    def vswap_stage_event(event: object, colour: object) -> None:
        pass

    plugin = registry.add(module(vswap_stage_event=vswap_stage_event), "args", "vswap-args", "1")
    assert plugin.status == "broken"
    assert "colour" in plugin.trace


@pytest.mark.parametrize("spec", ["drift", None, made_up(name="Not OK")])
def test_a_hook_that_yields_something_else_is_broken(registry: Registry, spec: object) -> None:
    assert registry.add(yielding(spec), "odd", "vswap-odd", "1").status == "broken"
    assert registry.get("tracker", "drift")


def test_one_name_twice_from_one_plugin_is_broken_and_offers_nothing(registry: Registry) -> None:
    plugin = registry.add(yielding(made_up(), made_up()), "twice", "vswap-twice", "1")
    assert plugin.status == "broken"
    assert "'made-up' is yielded twice" in plugin.problem
    assert plugin.components == []


def test_a_function_that_is_not_marked_is_no_hook(registry: Registry) -> None:
    plugin = registry.add(module(vswap_trackers=lambda: [made_up()]), "unmarked", "vswap-unmarked", "1")
    assert plugin.components == []


def test_the_same_entry_point_twice_is_a_duplicate(registry: Registry) -> None:
    plugin = registry.add(lambda: small_plugin, "small", "vswap-small", "0.3")
    assert plugin.status == "duplicate"
    assert registry.get("tracker", "drift")


def test_one_name_from_two_distributions_is_a_conflict_that_names_both(registry: Registry) -> None:
    other = registry.add(yielding(made_up(name="drift"), made_up(name="unique")), "other", "vswap-other", "2.0")
    assert [plugin.status for plugin in registry.plugins] == ["conflict", "conflict"]
    assert "vswap-small 0.3" in other.problem
    assert "vswap-other 2.0" in registry.plugins[0].problem
    with pytest.raises(PluginError, match=r"vswap-other 2\.0 and vswap-small 0\.3"):
        registry.get("tracker", "drift")
    assert registry.get("tracker", "unique").distribution == "vswap-other"


def test_a_component_for_a_newer_api_is_listed_but_not_used(registry: Registry) -> None:
    plugin = registry.add(yielding(made_up(api=API_VERSION + 1)), "new", "vswap-new", "9")
    assert plugin.status == "newer API"
    with pytest.raises(PluginError, match="upgrade vswap"):
        registry.get("tracker", "made-up")


def test_an_unknown_name_offers_the_nearest_and_tells_of_broken_plugins(registry: Registry) -> None:
    registry.add(raising(ImportError("lib.so")), "bad", "vswap-bad", "1")
    with pytest.raises(ConfigError, match=r"did you mean 'drift'\?.*plugin 'bad' \(vswap-bad 1\) is broken"):
        registry.get("tracker", "drfit")


def test_a_component_whose_packages_are_missing_says_how_to_install_them(registry: Registry, tmp_path: Any) -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_package.*pip install no-such"):
        registry.create("tracker", "absent", {}, Context(tmp_path))


def test_a_factory_that_is_not_there_names_plugin_and_version(registry: Registry, tmp_path: Any) -> None:
    with pytest.raises(PluginError, match=r"'unloadable' \(vswap-small 0\.3\).*small_plugin:Nothing"):
        registry.create("tracker", "unloadable", {}, Context(tmp_path))


def test_the_built_in_plugins_are_all_found_and_whole() -> None:
    found = Registry.discover()
    own = [plugin for plugin in found.plugins if plugin.distribution == "vswap"]
    assert len(own) >= 8
    assert [plugin.problem for plugin in own if plugin.status != "ok"] == []
    for family in ("tracker", "masks", "canonical", "concept", "swapper", "metrics"):
        assert found.components(family), family
