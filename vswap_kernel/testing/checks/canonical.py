"""Checks of canonicals: a drag is what was asked for on its own frame, and moves nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vswap_kernel.errors import VswapError
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks.checking import check, expect
from vswap_kernel.types import PointEdit

MOVE_ERROR = 1e-3  # px between a move asked for and the move made


@check("canonical")
def check_canonical_move(make: Maker, case: Case, scratch: Path) -> None:
    """On the edit's frame each point is moved as asked; the others stay; moved to where they are, all stay."""
    edit, field, names = case.edit or PointEdit(), make.answer(case, scratch), case.tracks.names
    same = field.names == names and len(field.delta) == len(case.tracks)
    expect(case, same, f"{len(case.tracks)} frames of {names}", f"{len(field.delta)} frames of {field.names}")
    places = {name: (float(x), float(y)) for name, (x, y) in zip(names, case.tracks.xy[edit.frame], strict=True)}
    wanted = np.subtract([edit.move.get(name, places[name]) for name in names], [*places.values()])
    error = abs(field.delta[edit.frame] - wanted).max()
    asked = f"{names} moved by {wanted.tolist()} on frame {edit.frame}"
    expect(case, error <= MOVE_ERROR, asked, f"up to {error:.3f} px off")
    others = [name for point, name in enumerate(names) if name not in edit.move and field.delta[:, point].any()]
    expect(case, not others, "points that aren't moved to stay", f"{others} displaced")
    still = PointEdit(edit.frame, {name: places[name] for name in edit.move})
    most = abs(make.answer(replace(case, edit=still), scratch).delta).max()
    expect(case, most <= MOVE_ERROR, "no displacement of points moved to where they are", f"{most:.3f} px")


@check("canonical", once=True)
def check_canonical_unknown_point(make: Maker, case: Case, scratch: Path) -> None:
    """An edit of a point that isn't tracked raises a VswapError that names it."""
    try:
        got = make.answer(replace(case, edit=PointEdit(0, {"no-such-point": (1.0, 1.0)})), scratch)
    except VswapError as error:
        got = str(error)
    expect(case, "no-such-point" in str(got), "a VswapError that names the unknown 'no-such-point'", got)
