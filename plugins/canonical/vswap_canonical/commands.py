"""`vswap atlas export` and `render`. Light: what they need is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Argument(help="run folder of a config with `canonical: {name: layered-atlas}`")]


def add_commands(app: typer.Typer) -> None:
    """Add the group `atlas`."""
    atlas = typer.Typer(help="Edit a whole video in the one picture of its subject.", no_args_is_help=True)
    atlas.command("export")(export)
    atlas.command("render")(render)
    app.add_typer(atlas, name="atlas")


def export(run: Run, out: Annotated[Path, typer.Argument(help="folder to write the pictures to")]) -> None:
    """Write the atlas' pictures as PNG, to be edited in any program at the same size."""
    from vswap_canonical.atlas.editing import export_pictures

    for path in export_pictures(run, out):
        typer.echo(f"wrote {path}")


def render(
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="video to write: .mp4, .webm, .gif; or a folder of PNG")],
    subject: Annotated[Path | None, typer.Option(help="edited atlas-subject.png")] = None,
    background: Annotated[Path | None, typer.Option(help="edited atlas-background.png")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="all of every frame from the atlas; else the edit is laid onto the video")
    ] = False,
) -> None:
    """Render the video with edited pictures. What wasn't edited stays as it was in the video, to the pixel."""
    from vswap_canonical.atlas.editing import render_edited

    render_edited(run, {"subject": subject, "background": background}, out, whole=whole)
    typer.echo(f"wrote {out}")
