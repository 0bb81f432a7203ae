"""The shipped weights: small, loaded as any other model is, and better than nothing."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from vswap_kernel.api import Context
from vswap_kernel.registry import Registry
from vswap_kernel.types import Prompt
from vswap_toybox.rendering import render
from vswap_toybox.training import world

WEIGHTS = Path(str(files("vswap_toybox") / "weights"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    registry, context = Registry.discover(), Context(tmp_path_factory.mktemp("scratch"))
    backbone = registry.create("backbone", "sd15", {"weights": WEIGHTS / "model"}, context)
    return backbone, registry.create("motion", "animatediff", {"weights": WEIGHTS / "motion"}, context)


@pytest.fixture(scope="module")
def clip() -> tuple[Any, str]:
    """Frames uint8 [8, 64, 64, 3] that training hasn't seen, and their caption."""
    take = world.sample(np.random.default_rng((77, 3)), 8)
    return render(take.subject, take.scene, take.motion, (64, 64)).frames, take.caption


def error(backbone: Any, latents: Any, text: str) -> float:
    """Of the noise predicted at step 600."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    share = backbone.alphas_cumprod[600]
    noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
    with torch.no_grad():
        predicted = backbone.predict(noisy, 600, backbone.embed_text(Prompt(text)), frames=len(latents))
    return float((predicted - noise).pow(2).mean())


def test_they_are_at_most_40_megabytes_and_have_a_card_and_a_history() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) < 40e6
    assert (WEIGHTS / "README.md").is_file()
    assert json.loads((WEIGHTS / "training.json").read_text()).keys() >= {"vae", "unet", "motion"}


def test_the_vae_keeps_a_picture_it_has_not_seen(model: tuple[Any, Any], clip: tuple[Any, str]) -> None:
    backbone, _ = model
    frames, _ = clip
    latents = backbone.encode(frames)
    assert latents.shape == (8, 4, 16, 16)
    assert 0.5 < float(latents.std()) < 2
    error = np.square(backbone.decode(latents).astype(float) - frames).mean()
    assert 10 * np.log10(255**2 / error) > 22


def test_text_and_motion_help_to_tell_the_noise(model: tuple[Any, Any], clip: tuple[Any, str]) -> None:
    backbone, motion = model
    frames, caption = clip
    latents = backbone.encode(frames)
    frame_by_frame = error(backbone, latents, caption)
    assert frame_by_frame < error(backbone, latents, "")
    with motion.attach(backbone):
        together = error(backbone, latents, caption)
    assert together < frame_by_frame
