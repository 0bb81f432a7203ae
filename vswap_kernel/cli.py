"""The command `vswap`. Results go to stdout, progress and errors to stderr; errors are one line and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vswap_kernel.errors import InputError, VswapError
from vswap_kernel.registry import Registry

if TYPE_CHECKING:
    from vswap_kernel.plan import Plan

out, err = Console(soft_wrap=True), Console(stderr=True)
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
plugins = typer.Typer(no_args_is_help=True, help="What is installed, and does it work?")
points = typer.Typer(no_args_is_help=True, help="Points files: write, check, draw.")
store = typer.Typer(no_args_is_help=True, help="Results kept from earlier runs.")
GROUPS = {"plugins": plugins, "points": points, "store": store}
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)

Config = Annotated[Path, typer.Argument(help="config file (YAML)")]
Set = Annotated[list[str] | None, typer.Option("--set", help="change a field: tracker.name=lucas-kanade")]
StorePath = Annotated[Path | None, typer.Option("--store", help="where results are kept (or $VSWAP_STORE)")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


def _registry() -> Registry:
    """The registry made for this process (its plugins may have added commands)."""
    return state["registry"] if "registry" in state else Registry.discover()


state: dict[str, Any] = {}


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="say more")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
) -> None:
    """Replace the main subject of a video: keep the background, keep the motion."""
    state.update(verbose=verbose, debug=debug)


@app.command()
def run(
    config: Config,
    overrides: Set = None,
    folder: Annotated[Path | None, typer.Option("--out", help="run folder (default: runs/NAME-KEY)")] = None,
    kept: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Swap the subject of a video as CONFIG says. What an earlier run computed is used again."""
    run_and_show(config, overrides or [], folder, kept, as_json)


def run_and_show(
    config: Path, overrides: list[str], folder: Path | None = None, kept: Path | None = None, as_json: bool = False
) -> None:
    """Run with progress, then say where everything is. Commands of plugins may use it."""
    from vswap_kernel.display import Display
    from vswap_kernel.run import run_config

    try:
        with Display(err, quiet=as_json) as observer:
            outcome = run_config(
                config, overrides=overrides, out=folder, store=kept, observer=observer, registry=_registry()
            )
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(130) from None
    found = {"folder": outcome.folder, "video": outcome.video, "report": outcome.report}
    if as_json:
        typer.echo(
            json.dumps({name: path and str(path) for name, path in found.items()} | {"metrics": outcome.metrics})
        )
        return
    for name, value in outcome.metrics.items():
        out.print(f"{name:<40} {'undefined' if value is None else f'{value:.4g}'}", highlight=False)
    for name, path in found.items():
        out.print(f"{name:<8} {path}", highlight=False)


def _plan(config: Path, overrides: list[str] | None) -> Plan:
    from vswap_kernel.config import load_config
    from vswap_kernel.plan import make_plan

    return make_plan(load_config(config, _registry(), overrides or []), _registry())


def _open_store(path: Path | None) -> Any:
    from vswap_kernel.store import Store, default_store

    return Store(path or default_store())


@app.command()
def plan(config: Config, overrides: Set = None, kept: StorePath = None, as_json: AsJson = False) -> None:
    """Say what a run would compute, what it would reuse, and why."""
    rows = _plan(config, overrides).rows(_open_store(kept))
    _show(rows, as_json, skip=() if state.get("verbose") else ("key",))


@app.command()
def schema() -> None:
    """Print the JSON schema of a config, for editors."""
    from vswap_kernel.config import config_schema

    typer.echo(json.dumps(config_schema(_registry()), indent=2))


def _show(rows: list[dict[str, Any]], as_json: bool, skip: tuple[str, ...] = ()) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    columns = [name for name in (rows[0] if rows else {}) if name not in skip]
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[name])) for name in columns))
    out.print(table)


@plugins.command("list")
def plugins_list(as_json: AsJson = False) -> None:
    """List plugins and components, with what is wrong where something is."""
    registry = _registry()
    rows = [
        {"plugin": p.name, "distribution": f"{p.distribution} {p.version}", "status": p.status, "problem": p.problem}
        for p in registry.plugins
    ]
    components = [
        {
            "family": c.family,
            "name": c.spec.name,
            "from": c.origin,
            "status": f"needs: {c.spec.install}" if c.missing else "ok",
        }
        | {"summary": c.spec.summary}
        for plugin in registry.plugins
        for c in plugin.components
    ]
    components.sort(key=lambda row: (row["family"], row["name"]))
    if as_json:
        typer.echo(json.dumps({"plugins": rows, "components": components}, indent=1))
        return
    _show(rows, False)
    out.print()
    _show(components, False)


def _find(name: str) -> tuple[str, str]:
    """(family, name) of a component given as "name" or "family/name"."""
    from vswap_kernel.errors import nearest_first
    from vswap_kernel.hooks import FAMILIES

    family, slash, last = name.rpartition("/")
    known = {(f, c.spec.name) for f in FAMILIES for c in _registry().components(f)}
    found = sorted(item for item in known if item[1] == last and (not slash or item[0] == family))
    if len(found) != 1:
        choice = "; write one of " + ", ".join("/".join(item) for item in found) if found else ""
        hint = choice or f"; {nearest_first(last, (item[1] for item in known))}"
        raise InputError(f"{'ambiguous' if found else 'unknown'} component {name!r}{hint}")
    return found[0]


@plugins.command("info")
def plugins_info(name: Annotated[str, typer.Argument(help="component: name, or family/name")]) -> None:
    """Tell all about a component: its options, what it needs, where it comes from."""
    component = _registry().get(*_find(name))
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
    if rows:
        out.print()
        _show(rows, False)


@plugins.command("doctor")
def plugins_doctor(
    name: Annotated[str, typer.Argument(help="component: name, or family/name; none: every plugin")] = "",
    options: Annotated[list[str] | None, typer.Option("--set", help="option of the component: radius=3")] = None,
    as_json: AsJson = False,
) -> None:
    """Find out what is wrong: with every plugin, or, on exact cases, with one component."""
    if not name:
        rows = [
            {"plugin": p.name, "status": p.status, "problem": p.problem, "trace": p.trace} for p in _registry().plugins
        ]
        _show(rows, as_json, skip=() if state.get("verbose") else ("trace",))
        raise typer.Exit(int(any(row["status"] != "ok" for row in rows)))
    import yaml

    from vswap_kernel.testing import run_checks

    family, component = _find(name)
    pairs = (item.partition("=") for item in options or [])
    given = {option: yaml.safe_load(value) for option, _, value in pairs}
    outcomes = run_checks(family, component, given, _registry())
    rows = [vars(outcome) | {"seconds": round(outcome.seconds, 2)} for outcome in outcomes]
    _show(rows, as_json)
    raise typer.Exit(int(any(outcome.status == "failed" for outcome in outcomes)))


@store.command("list")
def store_list(kept: StorePath = None, as_json: AsJson = False) -> None:
    """List what is kept, last used first."""
    entries = _open_store(kept).entries()
    rows = [
        {
            "key": e.key[:12],
            "stage": e.stage,
            "component": e.ingredients.get("component", ""),
            "megabytes": round(e.size / 1e6, 1),
        }
        for e in entries
    ]
    _show(rows, as_json)
    err.print(f"{len(rows)} results, {sum(e.size for e in entries) / 1e6:.1f} MB")


@store.command("prune")
def store_prune(
    kept: StorePath = None,
    days: Annotated[float, typer.Option(help="only what wasn't used for so many days")] = 0.0,
    keep: Annotated[float, typer.Option(help="leave so many megabytes of what was used last")] = 0.0,
    damaged: Annotated[bool, typer.Option("--damaged", help="only entries whose content has changed")] = False,
) -> None:
    """Remove results. Links in run folders to what is removed go dead; results and reports there stay."""
    removed = _open_store(kept).prune(days * 86400, int(keep * 1e6), damaged)
    out.print(f"removed {len(removed)} results, {sum(entry.size for entry in removed) / 1e6:.1f} MB")


@points.command("write")
def points_write(
    video: Annotated[Path, typer.Argument(help="video or folder of frames")],
    file: Annotated[Path, typer.Argument(help="points file to write")],
    point: Annotated[list[str], typer.Option(help="name=x,y in pixels of the video; once for each point")],
    frame: Annotated[int, typer.Option(help="keyframe, counted from 0")] = 0,
) -> None:
    """Write a points file, after checking the points against the video."""
    import numpy as np

    from vswap_kernel.points import PointsFile, check_points, write_points
    from vswap_kernel.video import open_source

    source, names, places = open_source(video), [], []
    for text in point:
        name, _, place = text.partition("=")
        try:
            x, y = (float(number) for number in place.split(","))
        except ValueError:
            raise InputError(f"--point {text}: expected name=x,y, as in beak=301.5,88") from None
        names.append(name)
        places.append((x, y))
    if len(set(names)) < len(names):
        raise InputError(f"--point: {max(names, key=names.count)!r} more than once; give each point its own name")
    made = PointsFile(file, tuple(names), np.array(places, np.float32), frame, source.size)
    check_points(made, source.size, source.frames)
    try:
        write_points(made)
    except OSError as error:
        raise InputError(f"{file}: can't be written ({error.strerror})") from None
    out.print(f"wrote {file}: {len(names)} points on frame {frame}; look at them: vswap points draw {file} {video}")


@points.command("check")
def points_check(
    file: Annotated[Path, typer.Argument(help="points file")],
    video: Annotated[Path, typer.Argument(help="video or folder of frames")],
) -> None:
    """Check a points file against a video."""
    from vswap_kernel.points import check_points, read_points
    from vswap_kernel.video import open_source

    source = open_source(video)
    queries = check_points(read_points(file), source.size, source.frames)
    out.print(
        f"{file}: {len(queries.names)} points on frame {queries.frame[0]}, all inside {source.size[0]}x{source.size[1]}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point: no traceback reaches the user unless asked for with --debug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    everywhere = [flag for flag in ("--debug", "--verbose", "-v") if flag in arguments]
    arguments = [*everywhere, *(argument for argument in arguments if argument not in everywhere)]
    try:
        state["registry"] = Registry.discover()
        state["registry"].hook.vswap_cli(app=app, groups=GROUPS)
        app(arguments, prog_name="vswap")
    except VswapError as error:
        _fail(error, error.exit_code, str(error))
    except Exception as error:
        _fail(error, 1, f"a bug in vswap or a plugin: {type(error).__name__}: {error}; --debug shows where")


def _fail(error: Exception, code: int, text: str) -> None:
    if state.get("debug"):
        raise error
    err.print(f"[red]error:[/] {escape(' '.join(text.split()))}", highlight=False, soft_wrap=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
