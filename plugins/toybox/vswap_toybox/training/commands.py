"""`python -m vswap_toybox.train STAGE`: each stage in a folder of the work folder, in the order of `STAGES`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vswap_toybox.training.models import TINY, Sizes
from vswap_toybox.training.ranks import Ranks
from vswap_toybox.training.stages import STAGES, Plan


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser("python -m vswap_toybox.train", description=__doc__)
    made.add_argument("stage", choices=[*STAGES, "all"])
    made.add_argument("--work", type=Path, default=Path("toybox-train"), help="folder for pools, checkpoints and logs")
    made.add_argument("--minutes", type=float, help="the stage's whole length, earlier sittings included")
    made.add_argument("--steps", type=int, help="the same in optimiser steps")
    made.add_argument("--batch", type=int, help="pictures a step and process (clips, in stage motion)")
    made.add_argument("--rate", type=float, help="learning rate")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--from-export", type=Path, metavar="FOLDER", help="start from exported weights (weights/)")
    made.add_argument("--out", type=Path, help="where stage export writes (default: WORK/export)")
    made.add_argument("--tiny", action="store_true", help="tiny sizes, to try the machinery")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage, or all."""
    given = parser().parse_args(arguments)
    changes = {name: getattr(given, name) for name in ("minutes", "steps", "batch", "rate", "seed")}
    asked = {name: value for name, value in changes.items() if value is not None}
    plan = Plan(
        given.work, TINY if given.tiny else Sizes(), Ranks.join(), given.seed, given.from_export, given.out, given.tiny
    )
    for name in STAGES if given.stage == "all" else (given.stage,):
        stage = STAGES[name]
        stage.run(plan, replace(stage.schedule, **asked))
