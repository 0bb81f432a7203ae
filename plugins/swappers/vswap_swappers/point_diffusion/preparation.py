"""What a swap needs of its source alone: the inversion, and the registered point adapter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.adapter import PointAdapter
from vswap_swappers.point_diffusion.adapter_file import read_adapter, write_adapter
from vswap_swappers.point_diffusion.draws import SeededDraws
from vswap_swappers.point_diffusion.frozen import frozen
from vswap_swappers.point_diffusion.inversion import Inversion, hand_over, invert
from vswap_swappers.point_diffusion.job import DiffusionJob
from vswap_swappers.point_diffusion.patch_mask import PatchMask
from vswap_swappers.point_diffusion.registration import Registration, RegistrationSettings, RegistrationSource
from vswap_swappers.point_diffusion.word_alignment import prompt_tokens

INVERSION, ADAPTER, CURVES = "inversion", "adapter.safetensors", "curves.json"
_OF_INVERSION = {"steps", "sample_posterior", "negative_first_timestep", "mask_layers", "mask_scales"}
_FLOAT16_LOSS_SCALE = 1024.0  # gradients of the adapter are small: in float16 they would vanish inside the U-Net


def prepare_source(work: DiffusionJob, out: Path) -> None:
    """Write the inversion (folder `inversion`), the adapter, and the loss of each step (curves.json) into `out`."""
    options, text = work.options, work.job.prompt.source
    with work.motion.attach(work.backbone):
        embedded = work.backbone.embed_text(Prompt(text))
        shared = work.context.part(
            "inversion",
            ("source", "backbone", "motion", "prompt", *(("seed",) if options.sample_posterior else ())),
            options.model_dump(mode="json", include=_OF_INVERSION),
            lambda scratch, folder: _invert(work, embedded, scratch, folder),
        )
        (out / INVERSION).mkdir()
        hand_over(shared, out / INVERSION)
        if options.adapter is not None:
            adapter = _given(work, options.adapter)
        elif options.registration_steps:
            inversion = Inversion.in_folder(out / INVERSION, options.steps, work.device)
            adapter, losses = _registered(work, embedded, inversion)
            (out / CURVES).write_text(json.dumps({"registration loss": losses}))
        else:
            return
    write_adapter(out / ADAPTER, adapter)


def _invert(work: DiffusionJob, text: Tensor, scratch: Path, out: Path) -> None:
    options, total = work.options, work.options.steps + work.options.registration_steps
    folder = scratch / "levels"
    folder.mkdir(parents=True, exist_ok=True)
    invert(
        work.backbone,
        text,
        range(len(prompt_tokens(work.backbone.tokenizer, Prompt(work.job.prompt.source)))),
        work.layers,
        work.ladder,
        lambda: _latents(work, _posterior_noise(work) if options.sample_posterior else None),
        folder,
        negative_first_timestep=options.negative_first_timestep,
        progress=lambda done, _, note: work.context.progress(done, total, note),
    )
    hand_over(folder, out)


def _latents(work: DiffusionJob, noise: Tensor | None) -> Tensor:
    """Latents [F, 4, h, w] of the source; with noise of that shape, so many standard deviations from the mean."""
    found = []
    for start, frames in work.job.video.chunks():
        own = None if noise is None else noise[start : start + len(frames)]
        found.append(work.backbone.encode(work.grid.padded(frames), noise=own))
    return torch.cat(found)


def _posterior_noise(work: DiffusionJob) -> Tensor:
    shape = (len(work.job.video), 4, *work.grid.cells)
    return torch.randn(shape, generator=SeededDraws(work.context.seed).generator("inversion"))


def _given(work: DiffusionJob, path: Path) -> PointAdapter:
    adapter = read_adapter(path)
    adapter.require(
        embedding_channels=work.embeddings.vectors.shape[1],
        block_channels=work.backbone.unet.config.block_out_channels,
        points=work.job.tracks.names,
        space=work.embeddings.space,
    )
    return adapter


def _registered(work: DiffusionJob, text: Tensor, inversion: Inversion) -> tuple[PointAdapter, list[float | None]]:
    """The adapter trained on the source clip, and its losses."""
    backbone, options, tracks = work.backbone, work.options, work.job.tracks
    done, total = options.steps, options.steps + options.registration_steps
    adapter = PointAdapter(
        work.embeddings.vectors.shape[1],
        backbone.unet.config.block_out_channels,
        options.adapter_channels,
        points=tracks.names,
        space=work.embeddings.space,
    )
    adapter.initialise(SeededDraws(work.context.seed).generator("adapter"))

    def predict(latents: Tensor, timestep: int, residuals: Sequence[Tensor], /) -> Tensor:
        return backbone.predict(latents, timestep, text, frames=len(latents), residuals=residuals)

    registration = Registration(adapter.to(work.device), _source(work, inversion), predict, _settings(work))
    with frozen(backbone.unet, gradient_checkpointing=options.gradient_checkpointing):
        losses = registration.run(
            work.context.scratch / "registration",
            lambda step, _, note: work.context.progress(done + step, total, f"registration, {note}"),
        )
    return adapter, losses


def _source(work: DiffusionJob, inversion: Inversion) -> RegistrationSource:
    options, tracks, device = work.options, work.job.tracks, work.device
    latents, deviation = inversion.levels[0], None
    if options.sample_posterior:
        latents = _latents(work, None)
        deviation = _latents(work, torch.ones_like(latents)) - latents
    patches = PatchMask.around(
        tracks.xy,
        work.visible(tracks),
        work.grid.cells,
        stride=work.grid.cell,
        width=options.patch_cells,
        reference_patch_mask=options.reference_patch_mask,
    )
    return RegistrationSource(
        latents.to(device),
        work.vectors(tracks.names).to(device),
        tuple(splat.to(device) for splat in work.splats(tracks)),
        patches.to(device),
        work.backbone.alphas_cumprod.to(device),
        deviation,
        work.job.prompt.source,
    )


def _settings(work: DiffusionJob) -> RegistrationSettings:
    options, longest = work.options, work.motion.max_frames
    frames = options.frames_per_step or (longest if len(work.job.video) > longest else None)
    return RegistrationSettings(
        steps=options.registration_steps,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        dropout=options.point_dropout,
        lowest_timestep=options.lowest_timestep,
        frames_per_step=frames,
        loss=options.loss,
        checkpoint_every=options.checkpoint_every,
        loss_scale=_FLOAT16_LOSS_SCALE if work.context.dtype == "float16" else 1.0,
        seed=work.context.seed,
    )
