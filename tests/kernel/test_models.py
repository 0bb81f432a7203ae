"""Components that others are lent: made once, only when needed, and part of the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_plugin
from vswap_kernel.config import load_config
from vswap_kernel.errors import ConfigError
from vswap_kernel.plan import make_plan
from vswap_kernel.registry import Registry
from vswap_kernel.run import RunOutcome, run_config
from vswap_kernel.types import PointEmbeddings, PointTracks

from .conftest import Job

LENDING = {"backbone": {"name": "little"}, "embedder": {"name": "borrowing"}}


@pytest.fixture
def run(job: Job, registry: Registry, tmp_path: Path):
    def call(*overrides: str, **fields: Any) -> RunOutcome:
        path = job(**(LENDING | fields))
        return run_config(path, overrides=overrides, out=tmp_path / "run", store=tmp_path / "store", registry=registry)

    return call


@pytest.fixture
def keys_of(job: Job, registry: Registry):
    def call(*overrides: str, **fields: Any) -> dict[str, str]:
        plan = make_plan(load_config(job(**(LENDING | fields)), registry, overrides), registry)
        return {stage.name: stage.key for stage in plan.stages}

    return call


def test_an_embedder_is_lent_the_backbone_that_it_accepts_with_the_runs_seed(run) -> None:
    folder = run("seed=7", "backbone.width=5").folder / "stages" / "embeddings"
    embeddings = PointEmbeddings.load(folder)
    assert embeddings.space == "backbone:little"
    assert embeddings.vectors.shape == (2, 5)
    assert (embeddings.vectors == 7).all()


def test_stages_share_one_backbone(run) -> None:
    run(masks={"name": "borrowing"})
    assert small_plugin.calls["swap"] == small_plugin.calls["segment"] == 1
    assert small_plugin.calls["backbone"] == 1


def test_no_backbone_is_made_when_every_result_is_there(run) -> None:
    run()
    small_plugin.calls.clear()
    run("output.format=gif")
    assert small_plugin.calls["backbone"] == 0


def test_the_backbone_counts_only_where_it_is_lent(keys_of) -> None:
    before, after = keys_of(), keys_of("backbone.width=9")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"embeddings", "swap", "metric:share-changed", "result"}
    borrowing = {"masks": {"name": "borrowing"}}
    assert keys_of(**borrowing)["masks"] != keys_of("backbone.width=9", **borrowing)["masks"]


def test_a_tracker_is_lent_the_embedder_which_is_lent_the_backbone(run) -> None:
    outcome = run("seed=7", tracker={"name": "borrowing"})
    tracks = PointTracks.load(outcome.folder / "stages" / "tracks")
    np.testing.assert_allclose(tracks.confidence, 0.7)
    assert small_plugin.calls["backbone"] == 1


def test_what_a_lent_embedder_is_lent_counts_in_the_key_of_the_tracks(keys_of) -> None:
    tracker = {"tracker": {"name": "borrowing"}}
    assert keys_of(**tracker)["tracks"] != keys_of("backbone.width=9", **tracker)["tracks"]


def test_a_plan_names_the_option_of_the_lent_backbone_that_changed(run, job: Job, registry: Registry, tmp_path: Path):
    from vswap_kernel.store import Store

    run()
    plan = make_plan(load_config(job(**LENDING), registry, ["backbone.width=9"]), registry)
    why = {row["stage"]: row["why"] for row in plan.rows(Store(tmp_path / "store"))}
    assert why["embeddings"] == "backbone.options.width: 3 -> 9"


def test_a_backbone_of_the_wrong_kind_is_refused_before_anything_runs(keys_of) -> None:
    with pytest.raises(ConfigError, match="needs a backbone that offers little-unet, but 'other' offers"):
        keys_of(backbone={"name": "other"})
    with pytest.raises(ConfigError, match="needs a backbone component"):
        keys_of(backbone=None)
    assert not small_plugin.calls


def test_the_kernel_notes_the_keyframe_of_each_point_in_the_tracks(run) -> None:
    tracks = PointTracks.load(run().folder / "stages" / "tracks")
    assert tracks.keyframe is not None
    assert tracks.keyframe.tolist() == [2, 2]
    assert tracks.subset(["tail"]).keyframe.tolist() == [2]


def test_a_model_that_the_swapper_does_not_accept_is_neither_made_nor_in_its_key(run, keys_of) -> None:
    before, after = (keys_of(override, embedder=None) for override in ("backbone.width=3", "backbone.width=9"))
    assert before == after
    run(embedder=None)
    assert small_plugin.calls["swap"] == 1
    assert small_plugin.calls["backbone"] == 0
