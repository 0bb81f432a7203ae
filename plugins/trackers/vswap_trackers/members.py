"""The members of an ensemble: other trackers, named with their options as in a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vswap_kernel.api import Context
from vswap_kernel.errors import ConfigError
from vswap_kernel.protocols import Tracker
from vswap_kernel.registry import Component, Registry

_ORIGIN = "made_by"
"""Beside a member's options: which version of what it is, so that stored tracks of another aren't taken for its own."""


def checked_members(members: Sequence[Mapping[str, Any]], folder: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The members with all their options, and where each comes from.

    Args:
        members: each a `name` and options.
        folder: the validation context, that says what files are relative to.

    Raises:
        ValueError: no such tracker, one that can't be a member, or a wrong option (as pydantic puts it).
    """
    registry, found = Registry.discover(), []
    for number, member in enumerate(members):
        options = {key: value for key, value in member.items() if key not in ("name", _ORIGIN)}
        component = _component(registry, str(member.get("name", "")), number)
        model = component.spec.options.model_validate(options, context=folder)
        origin = f"{component.origin} revision {component.spec.revision}"
        found.append({"name": component.spec.name, **model.model_dump(mode="json"), _ORIGIN: origin})
    return found


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
        options = {key: value for key, value in member.items() if key not in ("name", _ORIGIN)}
        made.append(registry.create("tracker", member["name"], options, replace(context, scratch=scratch)))
    return made
