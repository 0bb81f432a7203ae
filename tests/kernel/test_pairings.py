"""Components that don't fit each other are refused while planning: before a weight is loaded, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vswap_kernel.config import load_config
from vswap_kernel.errors import ConfigError, InputError
from vswap_kernel.plan import make_plan
from vswap_kernel.registry import Registry

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


@pytest.fixture
def plan(registry: Registry, job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Plans the small job with these fields; loading a model fails the test."""
    import vswap_backbones.register
    import vswap_concepts.register
    import vswap_motion.register
    from vswap_kernel.registry import Component

    for module in (vswap_backbones.register, vswap_concepts.register, vswap_motion.register):
        registry.add(lambda module=module: module, module.__name__, "vswap", "0.1")
    monkeypatch.setattr(Component, "create", lambda *args: pytest.fail("a component was made while planning"))
    return lambda **fields: make_plan(load_config(job(**fields), registry), registry)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and a motion module and a concept for it, and for others."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from tiny_diffusion import adapter, lora_params, original_names, unet, write_model

    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "model")
    torch.save(original_names(adapter()), folder / "mm.ckpt")
    torch.save(original_names(adapter(positions=5)), folder / "short.ckpt")
    torch.save(original_names(adapter(widths=(64, 64, 64, 64))), folder / "wide.ckpt")
    text = CLIPTextModel(CLIPTextConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    torch.save(lora_params(unet(), text), folder / "toy.pth")
    torch.save(lora_params(unet(), text, width=24), folder / "text.pth")
    torch.save(lora_params(unet(block_out_channels=(64, 64, 64, 64)), text), folder / "wide.pth")
    return folder


def test_what_fits_is_planned(plan: Callable[..., Any], folder: Path) -> None:
    backbone = {"name": "sd15", "weights": str(folder / "model")}
    motion = {"name": "animatediff", "weights": str(folder / "mm.ckpt")}
    concept = {"name": "ed-lora", "weights": str(folder / "toy.pth")}
    assert plan(backbone=backbone, motion=motion, concept=concept).stages


@pytest.mark.parametrize(
    ("family", "component", "message"),
    [
        ("concept", {"name": "ed-lora", "weights": "text.pth"}, "another base: token embeddings of 24 channels"),
        ("concept", {"name": "ed-lora", "weights": "wide.pth"}, "another base: 64 channels at level 0"),
        ("motion", {"name": "animatediff", "weights": "wide.ckpt"}, "another base: levels of widths"),
        ("motion", {"name": "animatediff", "weights": "mm.ckpt", "heads": 7}, "motion.heads: 7 heads don't divide"),
        (
            "motion",
            {"name": "animatediff", "weights": "short.ckpt", "windows": False},
            "motion.windows: 6 frames don't fit in one pass, .* has positions for 5",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    family: str, component: dict[str, Any], message: str, plan: Callable[..., Any], folder: Path
) -> None:
    backbone = {"name": "sd15", "weights": str(folder / "model")}
    chosen = component | {"weights": str(folder / component["weights"])}
    with pytest.raises(InputError, match=message) as refused:
        plan(backbone=backbone, **{family: chosen})
    assert "\n" not in str(refused.value)


def test_what_needs_a_diffusion_model_says_so(plan: Callable[..., Any], folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'animatediff' .* needs a backbone component that offers sd15-unet"):
        plan(motion={"name": "animatediff", "weights": str(folder / "mm.ckpt")})
