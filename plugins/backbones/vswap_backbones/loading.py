"""Loads a model from a diffusers folder, from the hub, or from one file in the original layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from vswap_backbones.describe import HOLDS_CODE, refuse_other_kinds
from vswap_backbones.register import StableDiffusionOptions
from vswap_kernel.errors import InputError, MissingExtraError


@dataclass
class Model:
    """The parts of a model; alphas_cumprod float32 [timesteps]."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    alphas_cumprod: Tensor


def load(options: StableDiffusionOptions, dtype: torch.dtype) -> Model:
    """The model in memory, frozen.

    Raises:
        InputError: it isn't there, can't be read, has code in it, or is of another kind.
    """
    try:
        with _quiet():
            one_file = isinstance(options.weights, Path) and options.weights.is_file()
            model = (_from_file if one_file else _from_folder)(options, dtype)
    except InputError:
        raise
    except Exception as error:  # diffusers and transformers raise many kinds
        raise InputError(f"{options.weights}: not a Stable Diffusion model that can be read ({_line(error)})") from None
    refuse_other_kinds(dict(model.unet.config), options.weights)
    for module in (model.unet, model.vae, model.text_encoder):
        module.requires_grad_(False).eval()
    return model


def _line(error: BaseException) -> str:
    """An error in one line; that it refused a pickle, where that was the reason."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, UnpicklingError):
            return HOLDS_CODE
        reason = reason.__cause__ or reason.__context__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and remarks of the libraries: the run has its own, and what matters is an error."""
    kinds = (transformers_logging, diffusers_logging)
    before = [(kind.get_verbosity(), kind.is_progress_bar_enabled()) for kind in kinds]
    for kind in kinds:
        kind.set_verbosity_error()
        kind.disable_progress_bar()
    try:
        yield
    finally:
        for kind, (verbosity, bars) in zip(kinds, before, strict=True):
            kind.set_verbosity(verbosity)
            if bars:
                kind.enable_progress_bar()


def _from_folder(options: StableDiffusionOptions, dtype: torch.dtype) -> Model:
    source = str(options.weights)

    def place(part: str) -> dict[str, Any]:
        where: dict[str, Any] = {"subfolder": part, "revision": options.hub_revision}
        if isinstance(options.weights, Path) and part in ("unet", "vae", "text_encoder"):
            where["use_safetensors"] = any((options.weights / part).glob("*.safetensors"))
        return where

    return Model(
        UNet2DConditionModel.from_pretrained(source, torch_dtype=dtype, low_cpu_mem_usage=False, **place("unet")),
        AutoencoderKL.from_pretrained(source, torch_dtype=dtype, low_cpu_mem_usage=False, **place("vae")),
        CLIPTextModel.from_pretrained(source, **place("text_encoder")).to(dtype),
        CLIPTokenizer.from_pretrained(source, **place("tokenizer")),
        _signal_share(DDIMScheduler.load_config(source, **place("scheduler"))),
    )


def _from_file(options: StableDiffusionOptions, dtype: torch.dtype) -> Model:
    from diffusers import StableDiffusionPipeline

    config = {} if options.config is None else {"config": str(options.config), "local_files_only": True}
    source = str(options.weights)
    pipeline = StableDiffusionPipeline.from_single_file(source, torch_dtype=dtype, safety_checker=None, **config)
    return Model(
        pipeline.unet,
        pipeline.vae,
        pipeline.text_encoder.to(dtype),
        pipeline.tokenizer,
        _signal_share(pipeline.scheduler.config),
    )


def _signal_share(config: Any) -> Tensor:
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    alphas: Tensor = DDIMScheduler(**{name: config[name] for name in names if name in config}).alphas_cumprod
    return alphas


def prepare(model: Model, options: StableDiffusionOptions) -> None:
    """Set what the options ask for: attention kernel, memory layout, tiling, compilation.

    Raises:
        MissingExtraError: xformers isn't installed.
    """
    if options.attention == "xformers":
        try:
            model.unet.enable_xformers_memory_efficient_attention()
        except (ImportError, ValueError) as error:
            raise MissingExtraError(
                f"backbone 'sd15', field \"attention\": xformers can't be used here ({_line(error)}); "
                "pip install 'vswap[gpu]', or take sdpa"
            ) from None
    if options.channels_last:
        model.unet.to(memory_format=torch.channels_last)
        model.vae.to(memory_format=torch.channels_last)
    if options.vae_tiling:
        model.vae.enable_tiling()
    if options.compile:
        # without the guards, a compiled U-Net would not see that a motion module was attached or taken out
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        model.unet.compile()
