"""Stage `export`: the trained parts as diffusers folders in float16, and how they came about."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vswap_toybox.training import models
from vswap_toybox.training.checkpoint import read_about

PARTS = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "scheduler": ("diffusers", "DDIMScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
}
_MADE_HERE = ("_name_or_path",)
_NOTHING = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}


def export(parts: dict[str, Any], tokenizer: Path, motion: Any | None, logs: Mapping[str, Path], out: Path) -> int:
    """Write an image model to out/model, and its adapter to out/motion.

    Args:
        parts: "unet", "vae" and "text_encoder", of any number type.
        tokenizer: its folder, copied as it is: vocab.json and merges.txt are what every version of transformers reads.
        motion: the adapter; None leaves the one that is there.
        logs: by stage, its folder; their figures go into out/training.json.
        out: made if it is missing; its other files stay.

    Returns:
        The size of all of it in bytes.
    """
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(tokenizer, fresh / "model" / "tokenizer")
    for name, part in (parts | {"scheduler": models.make_schedule()}).items():
        _save(part, fresh / "model" / name)
    index = {"_class_name": "StableDiffusionPipeline"} | {name: list(kind) for name, kind in PARTS.items()} | _NOTHING
    (fresh / "model" / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    if motion is not None:
        _save(motion, fresh / "motion")
    history = {stage: _figures(folder) for stage, folder in logs.items() if (folder / "log.jsonl").is_file()}
    out.mkdir(parents=True, exist_ok=True)
    for made in fresh.iterdir():
        shutil.rmtree(out / made.name, ignore_errors=True)
        made.replace(out / made.name)
    fresh.rmdir()
    (out / "training.json").write_text(json.dumps(history, indent=2) + "\n")
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


def _save(part: Any, folder: Path) -> None:
    if hasattr(part, "half"):
        part = part.half()
    part.save_pretrained(str(folder))
    for file in folder.iterdir():
        file.chmod(0o644)
        if file.name.endswith("config.json"):
            known = json.loads(file.read_text())
            kept = {key: value for key, value in known.items() if key not in _MADE_HERE}
            file.write_text(json.dumps(kept, indent=2) + "\n")


def _figures(folder: Path) -> dict[str, object]:
    """The last line of a stage's log; what its checkpoint says of steps and time, where that is newer."""
    figures: dict[str, object] = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    path = folder / "checkpoint.safetensors"
    return figures | (read_about(path) if path.is_file() else {})
