from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from vswap_kernel.api import Context
from vswap_swappers.point_diffusion.guidance import Guidance, text_pair

STEPS, FRAMES = 10, 3


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tiny_diffusion import write_model
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion

    folder: Path = write_model(tmp_path_factory.mktemp("model"))
    return StableDiffusion(StableDiffusionOptions.model_validate({"weights": folder}), Context(folder))


@pytest.mark.parametrize("layers", [1, 16])
def test_guidance_of_one_is_the_prompt_alone_and_costs_half(
    layers: int, backbone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(FRAMES, 4, 8, 8, generator=random)
    negative, prompt = torch.randn(1, 77, 16, generator=random), torch.randn(layers, 77, 16, generator=random)
    residuals = [torch.randn(FRAMES, width, 8 >> level, 8 >> level) for level, width in enumerate((32, 32, 64, 64))]
    pair, seen, predict = text_pair(negative, prompt), list[int](), backbone.predict

    def watched(batch: Any, *args: Any, **more: Any) -> Any:
        seen.append(len(batch))
        return predict(batch, *args, **more)

    monkeypatch.setattr(backbone, "predict", watched)
    with torch.no_grad():
        alone = Guidance(backbone, pair, 1.0, STEPS, residuals)(latents, 500, 0)
        nearly = Guidance(backbone, pair, 1.0 + 1e-6, STEPS, residuals)(latents, 500, 0)
    assert seen == [FRAMES, 2 * FRAMES]
    assert torch.allclose(alone, nearly, atol=1e-4)
    assert not torch.allclose(alone, Guidance(backbone, pair, 2.0, STEPS, residuals)(latents, 500, 0), atol=1e-2)
