"""`vswap points`: write and check points files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vswap_kernel.cli.output import out
from vswap_kernel.errors import InputError

points = typer.Typer(no_args_is_help=True, help="Points files: write, check, draw.")


@points.command("write")
def points_write(
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
