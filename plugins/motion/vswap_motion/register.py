"""Registers the built-in components of the family `motion`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl

HubId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


class WindowOptions(Options):
    """How clips longer than one pass are cut."""

    window: int = Field(16, ge=1, description="frames of one pass; longer clips run in windows of that many")
    overlap: int = Field(8, ge=0, description="frames that neighbouring windows share, blended linearly")


class AnimateDiffOptions(WindowOptions):
    """Options of `animatediff`."""

    weights: InputPath | HubId = Field(
        "guoyww/animatediff-motion-adapter-v1-5-2",
        union_mode="left_to_right",
        description="a diffusers MotionAdapter folder, an original checkpoint (.ckpt, .safetensors), or a hub id",
    )
    hub_revision: str | None = Field(None, description="branch, tag or commit of the model on the hub")
    windows: bool = Field(True, description="false: refuse clips that don't fit in one pass")
    heads: int = Field(8, ge=1, description="attention heads of an original checkpoint; folders know theirs")
    norm_over_frames: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="GroupNorm of the U-Net's resnets over all frames at once, as AnimateDiff v1 was trained; "
        "auto: yes for a checkpoint of v1's 24 positions without a mid block",
    )
    strength: float = Field(1.0, ge=0, le=2, description="factor on what the temporal layers add")


def _toybox_motion() -> Path:
    """Where `vswap_toybox` keeps its motion module; of its code nothing but an empty package is imported."""
    from importlib.resources import files

    return Path(str(files("vswap_toybox") / "weights" / "motion"))


class ToyboxMotionOptions(AnimateDiffOptions):
    """Options of `toybox`: those of `animatediff`, with the weights that come with vswap."""

    weights: InputPath | HubId = Field(
        _toybox_motion(), union_mode="left_to_right", description="its folder; by default the shipped one"
    )
    norm_over_frames: Literal["auto", "yes", "no"] = Field("no", description="as it was trained: frame by frame")


class NoMotionOptions(Options):
    """Options of `none`."""

    window: int = Field(16, ge=1, description="frames of one pass: only a matter of memory")


@hookimpl
def vswap_motions() -> Iterable[ComponentSpec]:
    """`animatediff`, `toybox` and `none`."""
    from dataclasses import replace

    animatediff = ComponentSpec(
        "animatediff",
        "vswap_motion.animatediff:AnimateDiff",
        AnimateDiffOptions,
        "AnimateDiff's temporal layers: v1 to v3, original or diffusers",
        requires=("torch", "diffusers"),
        install="pip install 'vswap[diffusion]'",
        accepts={"backbone": ("sd15-unet",)},
        preflight="vswap_motion.preflight:preflight",
    )
    yield animatediff
    summary = "the motion module of the Toybox model that comes with vswap"
    yield replace(animatediff, name="toybox", options=ToyboxMotionOptions, summary=summary)
    yield ComponentSpec(
        "none",
        "vswap_motion.none:NoMotion",
        NoMotionOptions,
        "every frame by itself: the ablation",
        requires=("torch",),
        install="pip install 'vswap[diffusion]'",
        accepts={"backbone": ()},
    )
