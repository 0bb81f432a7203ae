from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_embedders.featureless import Learned, Position
from vswap_kernel.api import Context, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.types import PointEmbeddings, PointTracks, Video

NAMES = ("nose", "tail", "top")


def tracks(names: tuple[str, ...] = NAMES) -> PointTracks:
    random = np.random.default_rng(0)
    visible = random.random((5, len(names))) > 0.4
    xy = random.uniform(0, 47, (5, len(names), 2)).astype(np.float32)
    return PointTracks(names, xy, visible, visible.astype(np.float32), (64, 48))


def embed(kind: type[Learned] | type[Position], known: PointTracks) -> PointEmbeddings:
    video = Video(np.zeros((5, 48, 64, 3), np.uint8), 8.0)
    return kind(NoOptions(), Context(Path())).embed(video, known, "cat")


@pytest.mark.parametrize("kind", [Learned, Position])
def test_points_are_kept_where_the_tracker_sees_them(kind: Any) -> None:
    known = tracks()
    got = embed(kind, known)
    assert got.names == NAMES
    np.testing.assert_array_equal(got.keep, known.visible)
    assert not np.shares_memory(got.keep, known.visible)
    assert got.support.tolist() == known.visible.sum(0).tolist()


@pytest.mark.parametrize("kind", [Learned, Position])
def test_the_same_points_give_the_same_bytes_and_can_be_stored(kind: Any, tmp_path: Path) -> None:
    got = embed(kind, tracks())
    assert embed(kind, tracks()).digest() == got.digest()
    got.save(tmp_path)
    assert PointEmbeddings.load(tmp_path).digest() == got.digest()


def test_learned_gives_each_point_a_direction_of_its_own_and_names_them_in_its_space() -> None:
    got = embed(Learned, tracks())
    assert got.vectors.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert got.space == "learned:nose,tail,top"


def test_position_tells_no_point_from_another() -> None:
    got = embed(Position, tracks())
    assert got.vectors.tolist() == [[1], [1], [1]]
    assert got.space == "position"


def test_neither_loads_torch() -> None:
    script = "import sys, vswap_embedders.featureless; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize("others", [("tail", "nose", "top"), ("nose", "tail", "foot"), ("nose", "tail")])
def test_an_adapter_learnt_for_other_points_or_another_order_is_refused(others: tuple[str, ...]) -> None:
    pytest.importorskip("torch")
    from vswap_swappers.point_diffusion.adapter import PointAdapter

    known, asked = embed(Learned, tracks()), embed(Learned, tracks(others))
    adapter = PointAdapter(known.vectors.shape[1], (8, 16), points=known.names, space=known.space)

    def require(given: PointEmbeddings, *points: str) -> None:
        channels = given.vectors.shape[1]
        adapter.require(embedding_channels=channels, block_channels=(8, 16), points=points, space=given.space)

    require(known, *NAMES[:2])
    with pytest.raises(InputError, match="registered for embeddings 'learned:nose,tail,top', these are 'learned:"):
        require(asked, *others)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from tiny_swap import write_models

    return write_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(("name", "alike"), [("learned", False), ("position", True)])
def test_registration_runs_and_points_differ_only_where_they_are_told_apart(
    name: str, alike: bool, models: Path, tmp_path: Path
) -> None:
    import torch

    from tiny_swap import write_job
    from vswap_kernel.run import run_config
    from vswap_kernel.store import Store
    from vswap_swappers.point_diffusion.adapter_file import read_adapter

    run_config(write_job(models, tmp_path / "job", embedder={"name": name}), out=tmp_path / "run", store=tmp_path / "s")
    store = Store(tmp_path / "s")
    folder = {entry.stage: entry.path for entry in store.entries()}
    losses = json.loads((folder["prepare"] / "curves.json").read_text())["registration loss"]
    assert len(losses) == 5
    assert np.isfinite(losses).all()
    adapter = read_adapter(folder["prepare"] / "adapter.safetensors")
    embeddings = PointEmbeddings.load(folder["embeddings"])
    assert adapter.space == embeddings.space
    with torch.no_grad():
        for level in adapter.levels:
            first, second = level(torch.from_numpy(embeddings.vectors))[:2]
            assert torch.allclose(first, second, atol=1e-5) is alike
