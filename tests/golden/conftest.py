"""What the golden tests share: the folder of recordings, readers of its files, and its edits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    from .edits import Edit, Group

    Recording = Callable[[str], tuple[dict[str, torch.Tensor], dict[str, Any]]]

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("VSWAP_GOLDEN", REPOSITORY.parent / "shared" / "golden" / "open")).resolve()


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recordings: VSWAP_GOLDEN, or the open set beside the repository."""
    pytest.importorskip("diffusers")
    if not (FOLDER / "config.json").is_file():
        pytest.skip(f"no recordings at {FOLDER}; set VSWAP_GOLDEN to have these tests run")
    import torch

    torch.set_num_threads(1)  # as the recordings were made
    return FOLDER


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


def group_notes() -> dict[str, dict[str, Any]]:
    """The notes of every recorded group of edits, by its name."""
    notes = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("edit_*.json"))]
    return {group["group"]: group for group in notes}


def kind_of(group: dict[str, Any], edit: dict[str, Any]) -> str:
    """unblended; blended; or injected: blended and with attention replacement."""
    if not group["editing_config"]["use_blend"]:
        return "unblended"
    blending = edit["swap"]["blend_cfg"]
    return "injected" if blending.get("cross_replace_steps") or blending.get("self_replace_steps") else "blended"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an `edit` runs for each recorded edit of the kind that its module names as EDITS, or every one."""
    if "edit" not in metafunc.fixturenames:
        return
    kind, groups = metafunc.module.EDITS, group_notes()
    recorded = [(group, name) for group, notes in groups.items() for name in notes["edits"]]
    names = [
        (group, name)
        for group, name in recorded
        if kind in ("every", kind_of(groups[group], groups[group]["edits"][name]))
    ]
    assert names or not groups, f"no {kind} edit is recorded"
    metafunc.parametrize("edit", names, ids=["-".join(name) for name in names], indirect=True)


@pytest.fixture(scope="session")
def group_of(golden: Path, golden_config: Any, recording: Any, backbone: Any, motion: Any) -> Callable[[str], Group]:
    """The recorded group of a name; each is inverted once for all tests."""
    from .edits import Group

    return cache(lambda name: Group(name, group_notes(), golden, golden_config, recording, backbone, motion))


@pytest.fixture
def edit(request: pytest.FixtureRequest, group_of: Callable[[str], Group], make: Callable[..., Any]) -> Edit:
    """One recorded edit, see `pytest_generate_tests`."""
    from .edits import Edit

    group, name = request.param
    return Edit(group_of(group), name, lambda path, alpha: make("concept", "ed-lora", weights=path, strength=alpha))
