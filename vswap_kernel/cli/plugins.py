"""`vswap plugins`: what is installed, and does it work?"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape

from vswap_kernel.cli.output import AsJson, out, registry, show, state
from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.hooks import FAMILIES

plugins = typer.Typer(no_args_is_help=True, help="What is installed, and does it work?")


@plugins.command("list")
def plugins_list(as_json: AsJson = False) -> None:
    """List plugins and components, with what is wrong where something is."""
    found = registry()
    rows = [
        {"plugin": p.name, "distribution": p.origin, "status": p.status, "problem": p.problem} for p in found.plugins
    ]
    components = [
        {
            "family": c.family,
            "name": c.spec.name,
            "from": c.origin,
            "status": f"needs: {c.spec.install}" if c.missing else plugin.status,
            "summary": c.spec.summary,
        }
        for plugin in found.plugins
        for c in plugin.components
    ]
    components.sort(key=lambda row: (row["family"], row["name"]))
    if as_json:
        typer.echo(json.dumps({"plugins": rows, "components": components}, indent=1))
        return
    show(rows, False)
    out.print()
    show(components, False)


def _find(name: str) -> tuple[str, str]:
    """(family, name) of a component given as "name" or "family/name"."""
    family, slash, last = name.rpartition("/")
    known = {(f, c.spec.name) for f in FAMILIES for c in registry().components(f)}
    found = sorted(item for item in known if item[1] == last and (not slash or item[0] == family))
    if len(found) != 1:
        choice = "; write one of " + ", ".join("/".join(item) for item in found) if found else ""
        hint = choice or f"; {nearest_first(last, (item[1] for item in known))}"
        raise InputError(f"{'ambiguous' if found else 'unknown'} component {name!r}{hint}")
    return found[0]


@plugins.command("info")
def plugins_info(name: Annotated[str, typer.Argument(help="component: name, or family/name")]) -> None:
    """Tell all about a component: its options, what it needs, where it comes from."""
    component = registry().get(*_find(name))
    spec = component.spec
    facts = {
        "component": f"{component.family}/{spec.name}",
        "summary": spec.summary,
        "from": component.origin,
        "factory": spec.factory,
        "status": f"needs {', '.join(component.missing)}: {spec.install}" if component.missing else "ok",
        "licence": spec.licence,
        "accepts": "; ".join(f"{family}: {' or '.join(kinds) or 'any'}" for family, kinds in spec.accepts.items()),
        "capabilities": ", ".join(spec.capabilities),
    }
    for label, value in facts.items():
        if value:
            out.print(f"{label:<13} {escape(value)}", highlight=False)
    rows = [
        {"option": option, "type": str(getattr(field.annotation, "__name__", field.annotation)),
         "default": "required" if field.is_required() else repr(field.default), "meaning": field.description or ""}
        for option, field in spec.options.model_fields.items()
    ]  # fmt: skip
    out.print()
    show(rows, False)


@plugins.command("doctor")
def plugins_doctor(
    name: Annotated[str, typer.Argument(help="component: name, or family/name; none: every plugin")] = "",
    options: Annotated[list[str] | None, typer.Option("--set", help="option of the component: radius=3")] = None,
    as_json: AsJson = False,
) -> None:
    """Find out what is wrong: with every plugin, or, on exact cases, with one component."""
    if not name:
        rows = [
            {"plugin": p.name, "status": p.status, "problem": p.problem, "trace": p.trace} for p in registry().plugins
        ]
        show(rows, as_json, skip=() if state.get("verbose") else ("trace",))
        raise typer.Exit(int(any(row["status"] != "ok" for row in rows)))
    from vswap_kernel.testing.command import try_component

    raise typer.Exit(try_component(*_find(name), options or [], registry(), as_json))
