"""The commands `vswap toybox render`, `vswap toybox concept` and `vswap demo`.

Light: the renderer is imported when one of them runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vswap_kernel.errors import ConfigError, InputError, nearest_first

if TYPE_CHECKING:
    from vswap_kernel.types import ByteArray

Written = TypeVar("Written")
toybox = typer.Typer(no_args_is_help=True, help="Clips whose truth is known, to try things on.")


def add_commands(app: typer.Typer, evaluation: typer.Typer) -> None:
    """Add the group `toybox`, `demo`, and `swap` and `canonical` to the group `evaluation`."""
    from vswap_toybox.evaluation.canonical.command import canonical
    from vswap_toybox.evaluation.command import swap

    app.add_typer(toybox, name="toybox")
    evaluation.command("swap")(swap)
    evaluation.command("canonical")(canonical)
    app.command("demo")(demo)


@toybox.callback()
def _group() -> None:
    """A group even with one command in it."""


@toybox.command("render")
def render(
    out: Annotated[Path, typer.Argument(help="folder; each clip gets one of its own in it")],
    seed: Annotated[int, typer.Option(min=0, help="seed of the first clip; the next has the next")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="length of a clip")] = 16,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels")] = "128x128",
    subject: Annotated[str | None, typer.Option("--class", help="class of the subject (default: any)")] = None,
    target: Annotated[
        str | None, typer.Option("--target-class", help="class of the new subject (default: same shape, repainted)")
    ] = None,
    occluder: Annotated[bool, typer.Option("--occluder", help="let something pass in front")] = False,
    count: Annotated[int, typer.Option(min=1, help="number of clips")] = 1,
) -> None:
    """Render clips, each a job with its exact answer (`vswap run OUT/00000/swap.yaml`), and a contact sheet."""
    from vswap_kernel.encode import write_png
    from vswap_toybox.clip import clip
    from vswap_toybox.contact import contact_rows, stack_rows
    from vswap_toybox.writing import write_clip

    box = parse_size(size)
    rows: list[ByteArray] = []
    for number in range(seed, seed + count):
        made = clip(number, frames=frames, size=box, subject_class=subject, target_class=target, occluder=occluder)
        config = _written(partial(write_clip, made), out / f"{number:05d}")
        rows += contact_rows(made)
        typer.echo(f"{config}  {made.subject.caption} {made.scene.caption} -> {made.target.caption}")
    sheet = out / "contact.png"
    write_png(sheet, stack_rows(rows))
    typer.echo(f"{sheet}  source above answer, points drawn")


def demo(
    out: Annotated[Path, typer.Argument(help="folder for the clip and the runs")] = Path("runs/demo"),
    method: Annotated[
        str, typer.Option(help="point-diffusion: VideoSwap's, on the shipped model; warp: needs no model")
    ] = "point-diffusion",
) -> None:
    """Render a clip and swap its subject: a first run with nothing to prepare."""
    from vswap_kernel.cli import run_and_show
    from vswap_toybox.demo import demos

    known = demos()
    if method not in known:
        raise ConfigError(f"--method: no demo {method!r}; {nearest_first(method, known)}")
    made, jobs = _written(known[method].write, out / "clip")
    typer.echo(f"{jobs[0]}: {made.subject.caption} {made.scene.caption} -> {made.target.caption}", err=True)
    run_and_show(jobs[0], [], out / "run")
    for job in jobs[1:]:
        typer.echo(f"another swap of it, with nothing prepared again: vswap run {job}", err=True)


@toybox.command("concept")
def concept(
    out: Annotated[Path, typer.Argument(help="folder for pictures/, masks/, prior/ and a contact sheet")],
    count: Annotated[int, typer.Option(min=1, help="pictures of the subject")] = 12,
    others: Annotated[int, typer.Option(min=1, help="pictures of others of its class")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="of every choice")] = 0,
) -> None:
    """Render pictures of a car that the Toybox model has never seen, for `vswap concept train`."""
    from vswap_kernel.encode import write_png
    from vswap_toybox.pictures import write_pictures

    sheet = _written(lambda folder: write_pictures(folder, seed, count, others), out)
    write_png(out / "contact.png", sheet)
    typer.echo(f"{out / 'contact.png'}  the subject above others of its class")


def _written(write: Callable[[Path], Written], folder: Path) -> Written:
    try:
        return write(folder)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror}); choose another folder") from None


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of "128x96".

    Raises:
        InputError: not two whole numbers with an x between them.
    """
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text}: expected WIDTHxHEIGHT, as in 128x96")
    return int(width), int(height)
