"""What the backbone's tests share."""

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
def make(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Callable[..., Any]:
    """make(vae_batch=1, dtype="float16", ...) is a backbone."""
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion
    from vswap_kernel.api import Context

    scratch = tmp_path_factory.mktemp("scratch")

    def made(dtype: str = "float32", **options: Any) -> Any:
        values = StableDiffusionOptions.model_validate({"weights": folder} | options)
        return StableDiffusion(values, Context(scratch, dtype=dtype))

    return made


@pytest.fixture(scope="session")
def backbone(make: Callable[..., Any]) -> Any:
    """One for tests that leave it as it was."""
    return make()
