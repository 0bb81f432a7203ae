"""Registers the built-in components of the family `backbone`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl

HubId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


class StableDiffusionOptions(Options):
    """Options of `sd15`. The device and the number type are the run's own (`device`, `dtype`)."""

    weights: InputPath | HubId = Field(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        union_mode="left_to_right",
        description="a diffusers folder, one .safetensors or .ckpt file, or owner/name of a model on the hub",
    )
    config: InputPath | None = Field(
        None, description="of a single file: a diffusers folder with its configuration and tokenizer; none: the hub's"
    )
    hub_revision: str | None = Field(None, description="branch, tag or commit of the model on the hub")
    attention: Literal["sdpa", "xformers"] = Field("sdpa", description="which attention kernel runs")
    vae_batch: int = Field(4, ge=1, description="how many frames are encoded or decoded at once")
    vae_tiling: bool = Field(False, description="encode and decode in tiles: less memory, faint differences")
    channels_last: bool = Field(False, description="memory layout that suits convolutions on many GPUs")
    compile: bool = Field(False, description="compile the U-Net (torch.compile): slow first pass, faster afterwards")
    offload: bool = Field(False, description="keep on the device only the model that is at work")


def _toybox_model() -> Path:
    """Where `vswap_toybox` keeps its model; of its code nothing but an empty package is imported."""
    from importlib.resources import files

    return Path(str(files("vswap_toybox") / "weights" / "model"))


class ToyboxOptions(StableDiffusionOptions):
    """Options of `toybox`: those of `sd15`, with the weights that come with vswap."""

    weights: InputPath | HubId = Field(
        _toybox_model(), union_mode="left_to_right", description="its folder; by default the shipped one"
    )


@hookimpl
def vswap_backbones() -> Iterable[ComponentSpec]:
    """`sd15`; `toybox` is the same with the weights that come with vswap."""
    from dataclasses import replace

    sd15 = ComponentSpec(
        "sd15",
        "vswap_backbones.sd15:StableDiffusion",
        StableDiffusionOptions,
        "any Stable-Diffusion-1.5-class model",
        requires=("torch", "diffusers", "transformers"),
        install="pip install 'vswap[diffusion]'",
        capabilities=("sd15-unet",),
        describe="vswap_backbones.describe:describe",
    )
    yield sd15
    summary = "the tiny model of the Toybox's world that comes with vswap; pictures of 64x64"
    yield replace(sd15, name="toybox", options=ToyboxOptions, summary=summary)
