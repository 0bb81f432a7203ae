"""The command `vswap concept train`. Light: what computes is imported when it runs."""

from __future__ import annotations

import json
import re
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vswap_kernel.errors import InputError

if TYPE_CHECKING:
    from vswap_concepts.training.job import Trained, TrainingJob

concept = typer.Typer(no_args_is_help=True, help="Concepts: new subjects, learned from pictures.")


def add_commands(app: typer.Typer) -> None:
    """Add the group `concept`."""
    app.add_typer(concept, name="concept")


@concept.callback()
def _group() -> None:
    """A group even with one command in it."""


@concept.command("train")
def train(
    context: typer.Context,
    pictures: Annotated[list[Path], typer.Argument(help="pictures of the subject, or folders of them")],
    name: Annotated[str, typer.Option("--name", help='its new words, as in "<toyA1> <toyA2>"')],
    class_word: Annotated[str, typer.Option("--class", help="what it is, in a word of the model: car")],
    backbone: Annotated[str, typer.Option("--backbone", help="name of a backbone, or a YAML file with one")],
    weights: Annotated[str | None, typer.Option("--weights", help="the backbone's weights")] = None,
    masks: Annotated[Path | None, typer.Option("--masks", help="folder of masks, named as the pictures")] = None,
    prior: Annotated[Path | None, typer.Option("--prior", help="folder of other pictures of the class")] = None,
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps")] = 800,
    batch: Annotated[int, typer.Option(min=1, help="pictures in a step")] = 4,
    rank: Annotated[int, typer.Option(min=1, max=128, help="of the changes of the weights")] = 4,
    words_rate: Annotated[float, typer.Option(min=0, help="learning rate of the new words")] = 1e-3,
    text_rate: Annotated[float, typer.Option(min=0, help="learning rate in the text encoder")] = 1e-5,
    unet_rate: Annotated[float, typer.Option(min=0, help="learning rate in the U-Net")] = 1e-4,
    background: Annotated[float, typer.Option(min=0, max=1, help="weight of what is outside the masks")] = 0.1,
    prior_every: Annotated[int, typer.Option(min=2, help="every n-th picture is one of the class")] = 4,
    flip: Annotated[bool, typer.Option("--flip", help="show half of the pictures mirrored")] = False,
    caption: Annotated[list[str] | None, typer.Option("--caption", help='a template, as in "a {} on grass"')] = None,
    sample: Annotated[
        list[str] | None, typer.Option("--sample", help="prompt of sample pictures; {}: the name")
    ] = None,
    sample_steps: Annotated[int, typer.Option(min=1, max=500, help="DDIM steps of a sample")] = 25,
    guidance: Annotated[float, typer.Option(min=1, help="of the samples")] = 7.5,
    size: Annotated[int | None, typer.Option(min=8, help="width and height in pixels (default: the model's)")] = None,
    out: Annotated[Path | None, typer.Option("--out", help=".safetensors, or .pth as the reference has it")] = None,
    gradient_checkpointing: Annotated[bool, typer.Option(help="less memory, a third slower")] = False,
    seed: Annotated[int, typer.Option(min=0, help="of all random choices")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps")] = "cpu",
    dtype: Annotated[str, typer.Option(help="of the model: float32, bfloat16, float16")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Learn a subject from pictures: an ED-LoRA that the concept `ed-lora` loads. The same command resumes it."""
    _check(device, dtype, out)
    _tell(_watched(_job(context.params), as_json), as_json)


def _job(given: dict[str, Any]) -> TrainingJob:
    """From the options of `train`, which are named as the fields they fill."""
    from vswap_concepts.training.choice import choose_backbone
    from vswap_concepts.training.settings import Subject, TrainingSettings
    from vswap_kernel.cli.output import registry

    subject = Subject.parse(given["name"], given["class_word"])
    scale = {"loss_scale": 1024.0 if given["dtype"] == "float16" else 1.0}
    settings = TrainingSettings(**{f.name: given[f.name] for f in fields(TrainingSettings) if f.name in given} | scale)
    chosen = choose_backbone(given["backbone"], given["weights"], registry())
    from vswap_concepts.training.job import TrainingJob  # torch: after it is known to be there

    named = {
        "backbone": chosen,
        "subject": subject,
        "settings": settings,
        "pictures": tuple(given["pictures"]),
        "captions": tuple(given["caption"] or ()),
        "sample_prompts": tuple(given["sample"] or ()),
        "out": given["out"] or Path("-".join(word.strip("<>") for word in subject.words) + ".safetensors"),
    }
    return TrainingJob(**{f.name: given[f.name] for f in fields(TrainingJob) if f.name not in named} | named)


def _check(device: str, dtype: str, out: Path | None) -> None:
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise InputError(f"--device {device}: expected cpu, mps, cuda or cuda:1")
    if dtype not in ("float32", "bfloat16", "float16"):
        raise InputError(f"--dtype {dtype}: expected float32, bfloat16 or float16")
    if out is not None and out.suffix not in (".safetensors", ".pth"):
        raise InputError(f"--out {out}: expected a name in .safetensors, or in .pth for the reference's kind of file")


def _watched(job: TrainingJob, as_json: bool) -> Trained:
    from vswap_concepts.training.job import train as run
    from vswap_kernel.api import StageEvent
    from vswap_kernel.cli.output import err
    from vswap_kernel.display import Display

    began = time.monotonic()

    def progress(done: int, total: int, note: str) -> None:
        show(StageEvent("progress", "training", note, done, total))
        if not (err.is_terminal or as_json) and done % max(1, total // 10) == 0:
            err.print(f"step {done} of {total}, {note}, {time.monotonic() - began:.0f} s", highlight=False)

    try:
        with Display(err, quiet=as_json) as show:
            show(StageEvent("start", "training"))
            trained = run(job, progress)
            show(StageEvent("done", "training", job.subject.name, seconds=time.monotonic() - began))
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on from the last checkpoint")
        raise typer.Exit(130) from None
    return trained


def _tell(trained: Trained, as_json: bool) -> None:
    last = trained.losses[-20:]
    files = {"concept": trained.concept, "samples": trained.samples, "page": trained.page}
    if as_json:
        told = {name: str(path) for name, path in files.items()}
        typer.echo(json.dumps(told | {"steps": len(trained.losses), "loss": sum(last) / len(last)}))
        return
    for what, path in files.items():
        typer.echo(f"{what:<8} {path}")
