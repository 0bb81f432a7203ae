"""The command `vswap`. Results go to stdout, progress and errors to stderr; errors are one line and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from vswap_kernel.cli.output import AsJson, StorePath, err, open_store, out, registry, show, state
from vswap_kernel.cli.plugins import plugins
from vswap_kernel.cli.store import store
from vswap_kernel.errors import VswapError
from vswap_kernel.registry import Registry

if TYPE_CHECKING:
    from vswap_kernel.plan import Plan

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
points = typer.Typer(no_args_is_help=True, help="Points files: write, check, draw.")
evaluation = typer.Typer(no_args_is_help=True, help="Judge components on clips whose answer is known.")
GROUPS = {"plugins": plugins, "points": points, "store": store, "eval": evaluation}
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)

Config = Annotated[Path, typer.Argument(help="config file (YAML)")]
Set = Annotated[list[str] | None, typer.Option("--set", help="change a field: tracker.name=lucas-kanade")]


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
                config, overrides=overrides, out=folder, store=kept, observer=observer, registry=registry()
            )
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(130) from None
    found = {"folder": outcome.folder, "video": outcome.video, "report": outcome.report}
    if as_json:
        told = {name: path and str(path) for name, path in found.items()}
        typer.echo(json.dumps(told | {"metrics": outcome.metrics}))
        return
    lines = [f"{name:<40} {'undefined' if x is None else f'{x:.4g}'}" for name, x in outcome.metrics.items()]
    out.print(*lines, *(f"{name:<8} {path}" for name, path in found.items()), sep="\n", highlight=False)


def _plan(config: Path, overrides: list[str] | None) -> Plan:
    from vswap_kernel.config import load_config
    from vswap_kernel.plan import make_plan

    return make_plan(load_config(config, registry(), overrides or []), registry())


@app.command()
def plan(config: Config, overrides: Set = None, kept: StorePath = None, as_json: AsJson = False) -> None:
    """Say what a run would compute, what it would reuse, and why."""
    rows = _plan(config, overrides).rows(open_store(kept))
    show(rows, as_json, skip=() if state.get("verbose") else ("key",))


@app.command()
def schema() -> None:
    """Print the JSON schema of a config, for editors."""
    from vswap_kernel.config import config_schema

    typer.echo(json.dumps(config_schema(registry()), indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Entry point: no traceback reaches the user unless asked for with --debug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    everywhere = [flag for flag in ("--debug", "--verbose", "-v") if flag in arguments]
    arguments = [*everywhere, *(argument for argument in arguments if argument not in everywhere)]
    try:
        state["registry"] = Registry.discover()
        for plugin, call in state["registry"].ask("vswap_cli", app=app, groups=GROUPS):
            try:
                call()
            except Exception as error:
                err.print(f"warning: plugin {plugin} could not add its commands: {type(error).__name__}: {error}")
        app(arguments, prog_name="vswap")
    except VswapError as error:
        _fail(error, error.exit_code, str(error))
    except OSError as error:
        _fail(error, 2, f"{error.filename or 'a file'}: {error.strerror or error}")
    except Exception as error:
        _fail(error, 1, f"a bug in vswap or a plugin: {type(error).__name__}: {error}; --debug shows where")


def _fail(error: Exception, code: int, text: str) -> None:
    if state.get("debug"):
        raise error
    err.print(f"[red]error:[/] {escape(' '.join(text.split()))}", highlight=False, soft_wrap=True)
    raise SystemExit(code)
