"""The commands that read and write the reference's files. Light: the readers are imported when one of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vswap_kernel.errors import ConfigError, InputError

if TYPE_CHECKING:
    from vswap_reference.translation import Translation


def add_commands(app: typer.Typer, points: typer.Typer) -> None:
    """Add `import-reference`, and the two that convert annotations to the group `points`."""
    app.command("import-reference")(import_reference)
    points.command("from-annotation")(from_annotation)
    points.command("to-annotation")(to_annotation)


def import_reference(
    config: Annotated[Path, typer.Argument(help="option file of the reference (YAML)")],
    out: Annotated[Path | None, typer.Option("--out", help="folder to write into (default: the file's name)")] = None,
    root: Annotated[Path, typer.Option("--root", help="folder from which the option file's paths count")] = Path(),
    preset: Annotated[str, typer.Option("--preset", help="reference: as the reference did; default: our best")] = (
        "reference"
    ),
) -> None:
    """Turn an option file of VideoSwap's own code into configs, one for each of its edits, and a points file."""
    from vswap_reference.translation import translate

    if preset not in ("reference", "default"):
        raise InputError(f"--preset {preset}: expected reference or default")
    folder = out or Path(config.stem)
    made = translate(config, root, folder, preset)
    for edit, values in made.configs.items():
        _drop_unknown_options(values, made.edit_notes[edit])
        _write(folder, edit, values, made)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)


def _drop_unknown_options(config: dict[str, Any], notes: list[str]) -> None:
    """Take out options that the components of this installation don't have, with a line for each."""
    from vswap_kernel.hooks import FAMILIES
    from vswap_kernel.registry import Registry

    registry = Registry.discover()
    for family in FAMILIES.keys() & config.keys():
        name = config[family]["name"]
        try:
            known = registry.get(family, name).spec.options.model_fields
        except ConfigError:
            notes.append(f"{family}: {name!r} is not installed here")
            continue
        for option in [option for option in config[family] if option not in known and option != "name"]:
            notes.append(f"not carried over: {family} {name!r} has no option {option}: {config[family].pop(option)!r}")


def _write(folder: Path, edit: str, config: dict[str, Any], made: Translation) -> None:
    """Write one config, with its notes on top, and the points file."""
    import yaml

    from vswap_kernel.points import write_points

    path = folder / f"{edit}.yaml"
    notes = [f"# {note}" for note in (*made.notes, *made.edit_notes[edit])]
    head = "\n".join([f"# {edit} of {made.name}, an option file of VideoSwap's own code", *notes])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_points(made.points)
        path.write_text(f"{head}\n{yaml.safe_dump(config, sort_keys=False, allow_unicode=True)}")
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror}); choose another folder with --out") from None
    typer.echo(path)
    for note in made.edit_notes[edit]:
        typer.echo(f"note: {edit}: {note}", err=True)


def from_annotation(
    annotation: Annotated[Path, typer.Argument(help="keyframe annotation of the reference, (y, x)")],
    file: Annotated[Path, typer.Argument(help="points file to write")],
    frame: Annotated[int | None, typer.Option(min=0, help="keyframe (default: the number in the file's name)")] = None,
) -> None:
    """Turn a keyframe annotation of VideoSwap's own code into a points file."""
    from dataclasses import replace

    from vswap_kernel.points import write_points
    from vswap_reference.annotation import read_annotation

    points = replace(read_annotation(annotation, frame), path=file)
    _saved(file, lambda: write_points(points))


def to_annotation(
    file: Annotated[Path, typer.Argument(help="points file")],
    annotation: Annotated[Path, typer.Argument(help="annotation to write, named as the keyframe's picture")],
) -> None:
    """Turn a points file into a keyframe annotation for VideoSwap's own code."""
    from vswap_kernel.points import read_points
    from vswap_reference.annotation import write_annotation

    points = read_points(file)
    _saved(annotation, lambda: write_annotation(annotation, points))


def _saved(path: Path, write: Any) -> None:
    try:
        write()
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror})") from None
    typer.echo(f"wrote {path}")
