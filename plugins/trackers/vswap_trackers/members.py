"""The members of an ensemble: other trackers, named with their options as in a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vswap_kernel.api import Context, Facts
from vswap_kernel.config import component_options
from vswap_kernel.errors import ConfigError
from vswap_kernel.protocols import Tracker
from vswap_kernel.registry import Component, Registry

if TYPE_CHECKING:
    from vswap_trackers.register import EnsembleOptions

_ORIGIN = "made_by"
"""Beside a member's options: which version of what it is, so that stored tracks of another aren't taken for its own."""


def checked_members(members: Sequence[Mapping[str, Any]], folder: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The members with all their options, and where each comes from.

    Args:
        members: each a `name` and options.
        folder: the validation context, that says what files are relative to.

    Raises:
        ValueError: no such tracker, one that can't be a member, or a wrong option; one line each.
    """
    registry, found = Registry.discover(), []
    for number, member in enumerate(members):
        component = _component(registry, str(member.get("name", "")), number)
        try:
            options = component_options(component, _options_of(member), (folder or {}).get("folder") or Path())
        except ConfigError as error:
            raise ValueError(f"member {number}: {error}") from None
        origin = f"{component.origin} revision {component.spec.revision}"
        # paths stay paths: the content of the files counts in the stage's key, not their names
        found.append({"name": component.spec.name, **options.model_dump(), _ORIGIN: origin})
    return found


def _options_of(member: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in member.items() if key not in ("name", _ORIGIN)}


def _component(registry: Registry, name: str, number: int) -> Component:
    if name == "ensemble":
        raise ValueError(f"member {number}: an ensemble can't be a member of an ensemble")
    try:
        component = registry.get("tracker", name)
    except ConfigError as error:
        raise ValueError(f"member {number}: {error}") from None
    if component.spec.accepts:
        raise ValueError(f"member {number}: {name!r} works with another component of the config; it can't be a member")
    return component


def made_members(members: Sequence[Mapping[str, Any]], context: Context) -> list[Tracker]:
    """The trackers, each with a scratch folder of its own.

    Raises:
        MissingExtraError: a member's packages aren't installed.
    """
    registry, made = Registry.discover(), []
    for number, member in enumerate(members):
        scratch = context.scratch / f"member-{number}"
        scratch.mkdir(parents=True, exist_ok=True)
        made.append(registry.create("tracker", member["name"], _options_of(member), replace(context, scratch=scratch)))
    return made


def preflight(options: EnsembleOptions, facts: Facts) -> None:
    """Check the members as if each were the run's tracker.

    Raises:
        InputError: what a member's own preflight raises.
        MissingExtraError: a member's packages aren't installed.
    """
    registry = Registry.discover()
    for member in options.trackers:
        component = registry.get("tracker", member["name"])
        if component.spec.preflight:
            checked = component.spec.options.model_validate(_options_of(member))
            component.load(component.spec.preflight)(checked, facts)
        elif component.missing:
            component.load("")  # says what to install
