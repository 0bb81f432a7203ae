"""`vswap points write`, `check` and `draw`. Light: what they need is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vswap_kernel.errors import InputError


def add_commands(points: typer.Typer) -> None:
    """Add the commands to the group `points`."""
    points.command("write")(write)
    points.command("check")(check)
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


def write(
    video: Annotated[Path, typer.Argument(help="video or folder of frames")],
    file: Annotated[Path, typer.Argument(help="points file to write")],
    point: Annotated[list[str], typer.Option(help="name=x,y in pixels of the video; once for each point")],
    frame: Annotated[int, typer.Option(min=0, help="keyframe, counted from 0")] = 0,
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
    typer.echo(f"wrote {file}: {len(names)} points on frame {frame}; look at them: vswap points draw {file} {video}")


def check(
    file: Annotated[Path, typer.Argument(help="points file")],
    video: Annotated[Path, typer.Argument(help="video or folder of frames")],
) -> None:
    """Check a points file against a video."""
    from vswap_kernel.points import check_points, read_points
    from vswap_kernel.video import open_source

    source = open_source(video)
    queries = check_points(read_points(file), source.size, source.frames)
    typer.echo(
        f"{file}: {len(queries.names)} points on frame {queries.frame[0]}, all inside {source.size[0]}x{source.size[1]}"
    )
