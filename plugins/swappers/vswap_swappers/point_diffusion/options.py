"""The options of `point-diffusion`. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from vswap_kernel.api import SWAP_ONLY, InputPath, Options

REFERENCE: dict[str, Any] = {
    "sample_posterior": True,
    "negative_first_timestep": True,
    "mask_layers": "reference",
    "reference_patch_mask": True,
    "source_mask": "attention",
    "inclusive_ranges": True,
    "blend_start": 0.2,
    "blend_end": 0.8,
    "blend_one_level_too_high": True,
    "composite": False,
    "reference_words": True,
}
"""What the reference implementation does where our defaults do better."""


def _sampling(default: Any, description: str, **limits: Any) -> Any:
    """An option that `prepare` doesn't read."""
    return Field(default, description=description, json_schema_extra=SWAP_ONLY, **limits)


class PointDiffusionOptions(Options):
    """Options of `point-diffusion`. Defaults are the paper's numbers, or better where `REFERENCE` says that it differs.

    Shares are of all sampling steps. For people the paper takes lowest_timestep 0.7, registration_steps 50 and
    adapter_end 0.3.
    """

    preset: Literal["default", "reference"] = Field(
        "default", description="reference: what the reference implementation does, slips included, unless given"
    )

    steps: int = Field(50, ge=2, le=1000, description="DDIM steps, of inversion and sampling")
    sample_posterior: bool = Field(
        False, description="draw the source's latents from the VAE's posterior instead of taking its mean"
    )
    negative_first_timestep: bool = Field(
        False, description="begin the inversion at the timestep below 0, as the reference, instead of at 0"
    )
    mask_layers: Literal["scales", "reference"] = Field(
        "scales", description="which attention layers tell where a word is: by mask_scales, or the reference's choice"
    )
    mask_scales: tuple[Literal[1, 2, 4, 8], ...] = Field(
        (2, 4), min_length=1, description="how many latent cells a cell of those layers spans: 2 is 1/16 of a picture"
    )

    adapter: InputPath | None = Field(
        None, description="a registered point adapter (.safetensors, or the reference's .pth) instead of a registration"
    )
    registration_steps: int = Field(100, ge=0, description="optimiser steps")
    learning_rate: float = Field(5e-4, gt=0, description="of AdamW")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    point_dropout: float = Field(0.2, ge=0, lt=1, description="how likely a point is left out of an optimiser step")
    lowest_timestep: float = Field(
        0.5, ge=0, lt=1, description="the semantic-enhanced schedule: timesteps are drawn from this share of 1000 on"
    )
    loss: Literal["local", "global"] = Field(
        "local", description="local: the point patch loss, only cells near points count; global: all cells"
    )
    patch_cells: int = Field(4, ge=1, description="side of a point's patch, in latent cells")
    reference_patch_mask: bool = Field(
        False, description="light each point's patch in every frame, and never on the last row or column"
    )
    adapter_channels: int = Field(128, ge=1, description="hidden channels of the point adapter")
    frames_per_step: int | None = Field(
        None, ge=1, description="frames of an optimiser step; none: all, or one window of a longer clip"
    )
    checkpoint_every: int = Field(20, ge=1, description="optimiser steps between checkpoints")
    gradient_checkpointing: bool = Field(
        True, description="compute activations again in the backward pass: a third slower, and much smaller"
    )

    guidance: float = _sampling(7.5, "classifier-free guidance scale; 1: the prompt alone", ge=0)
    negative_prompt: str = _sampling("", "what the result is not to show")
    adapter_strength: float = _sampling(1.0, "factor on the adapter's maps; 0: without points", ge=0, le=2)
    adapter_start: float = _sampling(0.0, "from which share of the steps on they are added", ge=0, le=1)
    adapter_end: float = _sampling(0.5, "up to which share of the steps", ge=0, le=1)
    inclusive_ranges: bool = _sampling(False, "adapter_end counts too: 10 steps and 0.5 are then 6 steps")
    latent_blend: bool = _sampling(True, "outside of the old and the new subject, keep the source's latents")
    blend_threshold: float = _sampling(0.3, "attention, over its maximum, from which a cell is subject", gt=0, lt=1)
    blend_start: float = _sampling(0.0, "from which share of the steps on to blend", ge=0, le=1)
    blend_end: float | None = _sampling(None, "up to which share of the steps; none: to the last", ge=0, le=1)
    blend_one_level_too_high: bool = _sampling(False, "blend with the inverted latents of the step before")
    source_mask: Literal["masks", "attention"] = _sampling(
        "masks", "where the old subject is: as the masks component says, if there is one; or where its words attend"
    )
    composite: bool = _sampling(True, "keep the source's own pixels outside of both subjects")
    composite_feather: int = _sampling(6, "pixels over which the new subject's region fades out", ge=0, le=200)
    composite_tolerance: int = _sampling(
        0,
        "around the old subject, keep the source's pixels also where the result is within this many levels (of 255) of "
        "the decoded source; 0: keep none",
        ge=0,
        le=128,
    )
    cross_replace: float = _sampling(0.0, "share of the steps with the source's cross-attention", ge=0, le=1)
    self_replace: float = _sampling(
        0.0, "share of the steps with the source's self-attention outside of the old subject", ge=0, le=1
    )
    reference_words: bool = _sampling(
        False, "find the subject's words wherever one stands, and align a concept's by the pieces of their spelling"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        reference = isinstance(values, dict) and values.get("preset") == "reference"
        return REFERENCE | values if reference else values

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> PointDiffusionOptions:
        for name, start, end in (
            ("adapter_end", self.adapter_start, self.adapter_end),
            ("blend_end", self.blend_start, 1.0 if self.blend_end is None else self.blend_end),
        ):
            if end < start:
                raise ValueError(f"{name}: {end} is before its start, {start}")
        return self
