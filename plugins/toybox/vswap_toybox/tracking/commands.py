"""`python -m vswap_toybox.train_tracker`: renders the clips, trains on them, exports the network."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vswap_toybox.tracking.model import TINY, Sizes, ToyTrack
from vswap_toybox.tracking.pools import PoolSizes, render_pools
from vswap_toybox.tracking.task import TrackerTask
from vswap_toybox.training.checkpoint import read_about
from vswap_toybox.training.loop import Loop, Schedule
from vswap_toybox.training.ranks import Ranks

SCHEDULE = Schedule(minutes=60, batch=2, rate=7e-4, warmup=200, decay=0.998, measure_every=300.0, sample_every=900.0)
_TINY_POOLS = PoolSizes(4, 4, 2, 16, 48, 48)


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser("python -m vswap_toybox.train_tracker", description=__doc__)
    made.add_argument("step", choices=sorted(_STEPS))
    made.add_argument("--work", type=Path, default=Path("toytrack-train"), help="folder for clips, checkpoint and log")
    made.add_argument("--photos", type=Path, help="folder of photographs to train on (data)")
    made.add_argument("--held-photos", type=Path, help="folder of photographs to measure on (data; default: --photos)")
    made.add_argument("--minutes", type=float, help="length of the training, earlier sittings included")
    made.add_argument("--steps", type=int, help="the same in optimiser steps")
    made.add_argument("--batch", type=int, help="clips a step and process")
    made.add_argument("--rate", type=float, help="learning rate")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, help="where the ONNX file goes (export; default: WORK/toytrack.onnx)")
    made.add_argument("--iterations", type=int, default=6, help="of the exported network; trained with 3, 6 do better")
    made.add_argument("--tiny", action="store_true", help="tiny sizes, to try the machinery")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step: data, train or export."""
    given = parser().parse_args(arguments)
    _STEPS[given.step](given)


def _data(given: argparse.Namespace) -> None:
    if given.photos is None:
        raise SystemExit("data: --photos FOLDER: photographs to set in motion, .png or .jpg")
    sizes = _TINY_POOLS if given.tiny else PoolSizes()
    render_pools(given.work / "data", given.photos, given.held_photos or given.photos, sizes)


def _loop(given: argparse.Namespace) -> Loop:
    import torch

    ranks = Ranks.join()
    torch.manual_seed(given.seed)
    changes = {name: getattr(given, name) for name in ("minutes", "steps", "batch", "rate", "seed")}
    schedule = replace(SCHEDULE, **{name: value for name, value in changes.items() if value is not None})
    sizes, held_size = (TINY, 48) if given.tiny else (Sizes(), 128)
    task = TrackerTask(given.work / "data", sizes, held_size=held_size)
    return Loop(task, schedule, given.work / "train", replace(ranks, device="cpu"))


def _train(given: argparse.Namespace) -> None:
    _loop(given).run()


def _export(given: argparse.Namespace) -> None:
    from vswap_toybox.tracking.export import disagreement, export, read_mean

    path, out = given.work / "train" / "checkpoint.safetensors", given.out or given.work / "toytrack.onnx"
    if not path.is_file():
        raise SystemExit(f"export: {path}: nothing trained yet; run step train")
    model = ToyTrack(replace(TINY if given.tiny else Sizes(), iterations=given.iterations))
    read_mean(path, model)
    size = export(model, out, {"trained": json.dumps(read_about(path)), "iterations": str(given.iterations)})
    worst = disagreement(model, out, 9, 96, 136, 7)
    print(json.dumps({"file": str(out), "megabytes": round(size / 1e6, 2), "largest difference": worst}))


_STEPS: dict[str, Callable[[argparse.Namespace], None]] = {"data": _data, "train": _train, "export": _export}
