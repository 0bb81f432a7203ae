"""What the motion modules' tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model as a diffusers folder."""
    pytest.importorskip("diffusers")
    from tiny_diffusion import write_model

    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def backbone(folder: Path) -> Any:
    """That model; tests leave it as it was."""
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion
    from vswap_kernel.api import Context

    return StableDiffusion(StableDiffusionOptions.model_validate({"weights": folder}), Context(folder))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """make(path, windows=False, ...) is an `animatediff`."""
    from vswap_kernel.api import Context
    from vswap_motion.animatediff import AnimateDiff
    from vswap_motion.register import AnimateDiffOptions

    def made(weights: Path, **options: Any) -> Any:
        return AnimateDiff(AnimateDiffOptions.model_validate({"weights": weights} | options), Context(tmp_path))

    return made
