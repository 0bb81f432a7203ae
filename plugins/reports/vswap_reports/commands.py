"""The command `vswap points draw`. Light: drawing is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vswap_kernel.errors import InputError


def add_commands(points: typer.Typer) -> None:
    """Add `draw` to the group `points`."""
    points.command("draw")(draw)


def draw(
    file: Annotated[Path, typer.Argument(help="points file")],
    video: Annotated[Path, typer.Argument(help="video or folder of frames")],
    out: Annotated[Path | None, typer.Option("--out", help="picture to write (default: POINTS.png)")] = None,
) -> None:
    """Draw the points on their keyframe, with their names, as a PNG."""
    from vswap_reports.draw import draw_points_file

    out = out or file.with_suffix(".png")
    if out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: a PNG is written; give a name that ends in .png")
    if out.exists() and out.resolve() in (file.resolve(), video.resolve()):
        raise InputError(f"--out {out}: is an input; choose another name")
    try:
        draw_points_file(file, video, out)
    except OSError as error:
        raise InputError(f"{out}: can't be written ({error.strerror})") from None
    typer.echo(f"wrote {out}")
