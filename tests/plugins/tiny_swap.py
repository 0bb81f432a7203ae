"""A whole diffusion job on tiny random weights: a config that `vswap run` runs in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from tiny_diffusion import adapter, lora_params, original_names, write_model
from vswap_kernel.encode import write_png
from vswap_kernel.testing.cases import patch

STEPS = 6


def write_models(folder: Path) -> Path:
    """The tiny model, a motion module and a concept for it."""
    from transformers import CLIPTextModel

    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion
    from vswap_kernel.api import Context

    write_model(folder / "model")
    torch.save(original_names(adapter()), folder / "mm.ckpt")
    made = StableDiffusion(StableDiffusionOptions.model_validate({"weights": folder / "model"}), Context(folder))
    assert isinstance(made.text_encoder, CLIPTextModel)
    torch.save(lora_params(made.unet, made.text_encoder), folder / "toy.pth")
    return folder


def write_job(models: Path, folder: Path, frames: int = 4, **fields: Any) -> Path:
    """A config on the kit's moving square, 96x64; keyword arguments replace its fields, None takes one out."""
    case = patch()
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("frames", "masks"):
        (folder / kind).mkdir()
    for index in range(frames):
        at = index % len(case.video)
        write_png(folder / "frames" / f"{index:03}.png", case.video.frames[at])
        write_png(folder / "masks" / f"{index:03}.png", case.masks.frames[at])
    places = dict(zip(case.queries.names, case.queries.xy.tolist(), strict=True))
    (folder / "points.json").write_text(json.dumps({"frame": 0, "points": places}))
    config: dict[str, Any] = {
        "video": {"path": "frames", "fps": 8},
        "points": {"file": "points.json", "subject": "car"},
        "prompt": {"source": "a red car", "replace": {"red car": "<toy>"}},
        "tracker": {"name": "lucas-kanade"},
        "embedder": {"name": "dift", "ensemble": 2},
        "masks": {"name": "files", "path": "masks"},
        "backbone": {"name": "sd15", "weights": str(models / "model")},
        "motion": {"name": "animatediff", "weights": str(models / "mm.ckpt")},
        "concept": {"name": "ed-lora", "weights": str(models / "toy.pth"), "strength": 0.7},
        "swapper": {"name": "point-diffusion", "steps": STEPS, "registration_steps": 5},
        "metrics": [{"name": "background"}],
    } | fields
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return path
