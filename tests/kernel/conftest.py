"""A tiny job for the kernel, made of the small plugin's components."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import small_plugin
from vswap_kernel.encode import write_png
from vswap_kernel.registry import Registry


@pytest.fixture
def registry() -> Registry:
    """Only the small plugin."""
    made = Registry()
    made.add(lambda: small_plugin, "small", "vswap-small", "0.3")
    assert made.plugins[0].status == "ok", made.plugins[0]
    small_plugin.calls.clear()
    return made


Job = Callable[..., Path]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Writes a job of 6 frames of 24x16 and returns its config; keyword arguments replace fields."""
    frames = tmp_path / "frames"
    frames.mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        write_png(frames / f"{index}.png", random.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    (tmp_path / "points.json").write_text(json.dumps({"frame": 2, "points": {"nose": [6, 4], "tail": [10, 12]}}))

    def write(**fields: Any) -> Path:
        config: dict[str, Any] = {
            "video": {"path": "frames", "fps": 10},
            "points": {"file": "points.json"},
            "tracker": {"name": "drift", "step": [0.5, 0]},
            "masks": {"name": "middle"},
            "swapper": {"name": "paint"},
            "metrics": [{"name": "share-changed"}],
        }
        config |= fields
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
        return path

    return write
