"""One training from the user's files to the concept and what is written beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vswap_concepts.ed_lora_file import write_ed_lora
from vswap_concepts.training.captions import TEMPLATES, templates
from vswap_concepts.training.examples import Examples, encoded
from vswap_concepts.training.loop import ConceptTraining
from vswap_concepts.training.page import write_page
from vswap_concepts.training.pictures import Picture, read_prior, read_subject
from vswap_concepts.training.samples import sample_rows, write_sheet
from vswap_concepts.training.settings import Subject, TrainingSettings
from vswap_concepts.training.tuned import tuned
from vswap_kernel.api import Context
from vswap_kernel.config import Chosen
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone

_GLANCE = 32


@dataclass(frozen=True)
class TrainingJob:
    """What the user asked for; `size` None is the size that the model was made for."""

    backbone: Chosen
    subject: Subject
    settings: TrainingSettings
    pictures: tuple[Path, ...]
    masks: Path | None
    prior: Path | None
    captions: tuple[str, ...]
    sample_prompts: tuple[str, ...]
    sample_steps: int
    guidance: float
    size: int | None
    out: Path
    device: str
    dtype: str
    gradient_checkpointing: bool

    @property
    def checkpoint(self) -> Path:
        """Where a training that was stopped is kept: beside the result."""
        return self.out.with_suffix(".training.safetensors")


@dataclass(frozen=True)
class Trained:
    """The concept's file, the page with its loss curve, the contact sheet, and the loss of every step."""

    concept: Path
    page: Path
    samples: Path
    losses: tuple[float, ...]


def train(job: TrainingJob, progress: Callable[[int, int, str], None]) -> Trained:
    """Do it. A killed one goes on from its checkpoint beside the result, and ends with the same bytes.

    Raises:
        InputError: files that can't be used, a checkpoint of another training.
        VswapError: the loss is no longer finite.
    """
    usual = templates(job.captions, job.subject)
    device = torch.device(job.device)
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= here[device.type]:
        raise InputError(f"--device {job.device}: there is none here; use cpu")
    _read(job, usual, _GLANCE)  # what is wrong with the files is told before the model is loaded
    context = Context(job.out.parent, job.device, job.dtype, job.settings.seed)
    component, options = job.backbone.component, job.backbone.options
    backbone: Backbone = component.create(options, context)
    size = _size(backbone, job.size)
    pictures, prior = _read(job, usual, size)
    shape, losses = _learn(job, backbone, pictures, prior, progress)
    progress(len(losses), len(losses), "samples")
    trained = _show(job, backbone, pictures, shape, losses, asdict(job.settings) | {"size": size})
    job.checkpoint.unlink(missing_ok=True)
    return trained


def _read(job: TrainingJob, usual: tuple[str, ...], size: int) -> tuple[list[Picture], list[Picture]]:
    """Pictures of the subject and of its class."""
    prior = [] if job.prior is None else read_prior(job.prior, job.subject, size)
    return read_subject(job.pictures, job.masks, job.subject, usual, size), prior


def _size(backbone: Backbone, wanted: int | None) -> int:
    """Width and height of the pictures, in pixels."""
    stride = 2 ** (len(backbone.vae.config.block_out_channels) - 1)
    step = stride * 2 ** (len(backbone.unet.config.block_out_channels) - 1)
    native = backbone.unet.config.sample_size
    size = wanted or (native * stride if isinstance(native, int) else 512)
    if size % step:
        raise InputError(f"--size {size}: this model needs a multiple of {step}")
    return size


def _learn(
    job: TrainingJob,
    backbone: Backbone,
    pictures: list[Picture],
    prior: list[Picture],
    progress: Callable[[int, int, str], None],
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Train, and write the concept; returns the shape of a picture's latents, and the losses."""
    of = job.settings
    subject = encoded(pictures, backbone, background=of.background, flip=of.flip)
    of_class: Examples | None = encoded(prior, backbone, background=1, flip=of.flip) if prior else None
    captions = [caption for picture in (*pictures, *prior) for caption in picture.captions]
    described = f"{job.backbone.name} {job.backbone.options.model_dump_json()} {job.dtype}"
    job.out.parent.mkdir(parents=True, exist_ok=True)
    tuning: Any = tuned(
        backbone,
        job.subject,
        captions,
        rank=of.rank,
        seed=of.seed,
        device=torch.device(job.device),
        gradient_checkpointing=job.gradient_checkpointing,
    )
    with tuning as model:
        training = ConceptTraining(model, subject, of_class, of, described)
        losses = training.run(job.checkpoint, progress)
        partial = job.out.with_name(f".{job.out.stem}.partial{job.out.suffix}")
        write_ed_lora(model.learned(job.out), partial)
    partial.chmod(_usual_mode())
    partial.replace(job.out)
    return tuple(subject.latents.shape[1:]), tuple(losses)


def _usual_mode() -> int:
    """The mode of a new file; safetensors makes files that only their owner can read."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _show(
    job: TrainingJob,
    backbone: Backbone,
    pictures: list[Picture],
    shape: tuple[int, ...],
    losses: tuple[float, ...],
    told: dict[str, Any],
) -> Trained:
    """Write samples and page beside the concept."""
    given = job.sample_prompts or (TEMPLATES[0], f"a photo of a {job.subject.class_word}")
    prompts = tuple(text.replace("{}", job.subject.name) for text in given)
    samples, page = job.out.with_suffix(".samples.png"), job.out.with_suffix(".html")
    how: dict[str, Any] = {
        "steps": job.sample_steps,
        "guidance": job.guidance,
        "seed": job.settings.seed,
        "device": job.device,
    }
    rows = sample_rows(backbone, job.out, prompts, shape, **how)
    write_sheet(samples, pictures, rows)
    files = {"pictures": len(pictures), "masks": job.masks or "none", "prior": job.prior or "none"}
    model = {"backbone": job.backbone.name, "dtype": job.dtype, "class": job.subject.class_word}
    write_page(page, job.subject.name, losses, samples, ("pictures of the subject", *prompts), model | files | told)
    return Trained(job.out, page, samples, losses)
