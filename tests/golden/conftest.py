"""What the golden tests share: the folder of recordings, and readers of its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    Recording = Callable[[str], tuple[dict[str, torch.Tensor], dict[str, Any]]]

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recordings: VSWAP_GOLDEN, or the open set beside the repository."""
    pytest.importorskip("diffusers")
    folder = Path(os.environ.get("VSWAP_GOLDEN", REPOSITORY.parent / "shared" / "golden" / "open")).resolve()
    if not (folder / "config.json").is_file():
        pytest.skip(f"no recordings at {folder}; set VSWAP_GOLDEN to have these tests run")
    import torch

    torch.set_num_threads(1)  # as the recordings were made
    return folder


@pytest.fixture(scope="session")
def golden_config(golden: Path) -> dict[str, Any]:
    """The recordings' settings."""
    return json.loads((golden / "config.json").read_text())


@pytest.fixture(scope="session")
def recording(golden: Path) -> Recording:
    """recording("unet3d_io") is that file's tensors and its JSON (empty where there is none)."""
    from safetensors.torch import load_file

    def read(name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        notes = golden / f"{name}.json"
        return load_file(golden / f"{name}.safetensors"), json.loads(notes.read_text()) if notes.exists() else {}

    return read


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """make("motion", "animatediff", weights=...) is that component on the CPU in float32."""
    from vswap_kernel.api import Context
    from vswap_kernel.registry import Registry

    registry, scratch = Registry.discover(), tmp_path_factory.mktemp("scratch")
    return lambda family, name, **options: registry.create(family, name, options, Context(scratch))


@pytest.fixture(scope="session")
def backbone(golden: Path, make: Callable[..., Any]) -> Any:
    """The recorded model, bare; tests attach to it and leave it as it was."""
    return make("backbone", "sd15", weights=golden / "tiny-sd")


@pytest.fixture(scope="session")
def motion(golden: Path, make: Callable[..., Any]) -> Any:
    """The recorded motion module, in one pass and normalised as the reference does."""
    return make("motion", "animatediff", weights=golden / "mm_tiny.ckpt", windows=False, norm_over_frames="yes")


@pytest.fixture(scope="session")
def concept(golden: Path, golden_config: dict[str, Any], make: Callable[..., Any]) -> Any:
    """The recorded ED-LoRA at the recorded strength."""
    return make("concept", "ed-lora", weights=golden / golden_config["lora_name"], strength=golden_config["alpha"])
