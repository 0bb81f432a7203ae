"""The diffusion swapper as a whole, through the kernel, on tiny random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_kernel.api import StageEvent
from vswap_kernel.errors import InputError
from vswap_kernel.run import run_config
from vswap_kernel.store import Store
from vswap_kernel.types import Masks, SwapResult, Video

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from tiny_swap import STEPS, write_job, write_models
from vswap_swappers.point_diffusion.subject_region import changed

REGISTRATION = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def job(models: Path, tmp_path: Path) -> Callable[..., Path]:
    return lambda **fields: write_job(models, tmp_path / "job", **fields)


def stored(store: Path) -> dict[str, list[str]]:
    """The keys of all results, by stage."""
    found: dict[str, list[str]] = {}
    for entry in Store(store).entries():
        found.setdefault(entry.stage, []).append(entry.key)
    return found


def contents(store: Path) -> dict[str, bytes]:
    """Every stored file of the stages that are computed with the diffusion model."""
    entries = [e for e in Store(store).entries() if e.stage in ("embeddings", "inversion", "prepare", "swap")]
    return {
        f"{entry.stage}/{path.relative_to(entry.path)}": path.read_bytes()
        for entry in entries
        for path in sorted(entry.path.rglob("*"))
        if path.is_file()
    }


ALL_ON = {"cross_replace": 0.5, "self_replace": 0.4, "negative_prompt": "ugly", "adapter_strength": 0.8}


def with_options(**options: Any) -> dict[str, Any]:
    base = {"name": "point-diffusion", "steps": STEPS, "registration_steps": REGISTRATION}
    return {"swapper": base | options}


@pytest.fixture(scope="module")
def uninterrupted(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    config = write_job(models, folder / "job", **with_options(**ALL_ON, checkpoint_every=2))
    run_config(config, out=folder / "run", store=folder / "store")
    return contents(folder / "store")


def test_the_same_config_and_seed_give_the_same_bytes(
    job: Callable[..., Path], tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    run_config(job(**with_options(**ALL_ON, checkpoint_every=2)), out=tmp_path / "run", store=tmp_path / "store")
    again = contents(tmp_path / "store")
    assert again.keys() == uninterrupted.keys()
    assert [name for name in again if again[name] != uninterrupted[name]] == []
    losses = json.loads(again["prepare/curves.json"])["registration loss"]
    assert len(losses) == REGISTRATION
    assert np.isfinite(losses).all()


class Interrupted(BaseException):
    """Stands for Ctrl-C and for a kill: nothing may catch it."""


@pytest.mark.parametrize(
    ("note", "at"), [("inversion", 3), ("registration", STEPS + 3), ("sampling", 2), ("sampling", STEPS)]
)
def test_interrupted_work_goes_on_where_it_was_and_ends_with_the_same_bytes(
    note: str, at: int, job: Callable[..., Path], tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    config = job(**with_options(**ALL_ON, checkpoint_every=2))

    def interrupt(event: StageEvent) -> None:
        if event.kind == "progress" and event.message.startswith(note) and event.done == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_config(config, out=tmp_path / "run", store=tmp_path / "store", observer=interrupt)
    seen = list[StageEvent]()
    run_config(config, out=tmp_path / "run", store=tmp_path / "store", observer=seen.append)
    again = [event.done for event in seen if event.kind == "progress" and event.message.startswith(note)]
    assert len(again) < (REGISTRATION if note == "registration" else STEPS)
    assert min(again, default=at + 1) >= (at if note == "registration" else at + 1)
    assert contents(tmp_path / "store") == uninterrupted


def test_what_does_not_depend_on_a_change_is_not_computed_again(job: Callable[..., Path], tmp_path: Path) -> None:
    config, store = job(), tmp_path / "store"

    def run(*overrides: str) -> dict[str, list[str]]:
        run_config(config, overrides=overrides, out=tmp_path / "run", store=store)
        return stored(store)

    first = run()
    assert {name: len(first[name]) for name in ("inversion", "prepare", "swap")} == dict.fromkeys(
        ("inversion", "prepare", "swap"), 1
    )
    other_swap = run("swapper.guidance=3", "concept.strength=0.2", "prompt.replace={car: <toy>}", "edit.drop=[a]")
    assert {name: len(other_swap[name]) for name in ("inversion", "prepare", "swap")} == {
        "inversion": 1,
        "prepare": 1,
        "swap": 2,
    }
    other_registration = run("swapper.learning_rate=0.01", "embedder.t=100")
    assert (len(other_registration["inversion"]), len(other_registration["prepare"])) == (1, 2)
    assert len(run("swapper.steps=4")["inversion"]) == 2


def test_pixels_outside_of_both_subjects_are_the_sources_own(job: Callable[..., Path], tmp_path: Path) -> None:
    config, store = job(**with_options(blend_threshold=0.99, composite_feather=2)), tmp_path / "store"
    run_config(config, out=tmp_path / "run", store=store)
    keys = stored(store)
    source = Video.load(Store(store).path(keys["source"][0])).frames
    masks = Masks.load(Store(store).path(keys["masks"][0])).frames
    swap = SwapResult.load(Store(store).path(keys["swap"][0]))
    outside = (masks == 0) & (swap.subject.frames == 0)
    assert outside.mean() > 0.1
    assert np.array_equal(swap.video.frames[outside], source[outside])
    inside = masks == 255
    assert (swap.video.frames[inside] != source[inside]).mean() > 0.5


def test_a_tolerance_keeps_source_pixels_around_the_old_subject_where_the_result_is_like_it(
    job: Callable[..., Path], tmp_path: Path
) -> None:
    config, store, kept = job(**with_options(blend_threshold=0.1, composite_feather=2)), tmp_path / "store", {}
    for tolerance in (0, 64):
        folder = tmp_path / f"run{tolerance}"
        run_config(config, overrides=[f"swapper.composite_tolerance={tolerance}"], out=folder, store=store)
        kept[tolerance] = SwapResult.load(folder / "stages" / "swap").video.frames
    source = Video.load(Store(store).path(stored(store)["source"][0])).frames
    masks = Masks.load(Store(store).path(stored(store)["masks"][0])).frames
    assert np.array_equal(kept[64][masks == 255], kept[0][masks == 255])
    around = masks == 0
    same = {tolerance: (frames[around] == source[around]).all(-1).mean() for tolerance, frames in kept.items()}
    assert same[64] > same[0] + 0.1


def test_what_is_alike_is_found_by_its_mean_difference() -> None:
    before = np.full((1, 9, 12, 3), 100, np.uint8)
    after = before.copy()
    after[:, :, 6:, 1] = 140  # another colour
    after[:, ::2, :4] += 30  # texture, whose mean is 15 levels off
    alpha = changed(before, after, 40)[0]
    assert (alpha[1:-1, :4] == 0).all()
    assert (alpha[:, 7:] == 255).all()


def test_sizes_that_are_no_whole_cells_work(job: Callable[..., Path], tmp_path: Path) -> None:
    store = tmp_path / "store"
    options = with_options(blend_threshold=0.99, composite_feather=0)
    config = job(frames=2, masks=None, metrics=[], **options)
    run_config(config, overrides=["video.size=[70, 50]"], out=tmp_path / "run", store=store)
    source = Video.load(Store(store).path(stored(store)["source"][0])).frames
    swap = SwapResult.load(Store(store).path(stored(store)["swap"][0]))
    assert source.shape[1] % 8
    assert source.shape[2] % 8
    assert swap.video.frames.shape == source.shape
    outside = swap.subject.frames == 0  # without a masks component, the old subject's place is in it too
    assert 0 < outside.mean() < 1
    assert np.array_equal(swap.video.frames[outside], source[outside])
    assert (swap.video.frames[~outside] != source[~outside]).mean() > 0.5


def test_without_points_registration_and_blend(job: Callable[..., Path], tmp_path: Path) -> None:
    config = job(
        masks=None,
        metrics=[],
        concept={"name": "text"},
        prompt={"source": "a red car", "replace": {"red car": "blue boat"}},
        motion={"name": "none"},
        **with_options(registration_steps=0, latent_blend=False, composite=False),
    )
    run_config(config, out=tmp_path / "run", store=tmp_path / "store")
    prepared = Store(tmp_path / "store").path(stored(tmp_path / "store")["prepare"][0])
    assert not (prepared / "adapter.safetensors").exists()


def test_a_registered_adapter_is_used_again_and_only_for_its_own_points(
    job: Callable[..., Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    config = job()
    run_config(config, out=tmp_path / "run", store=store)
    made = Store(store).path(stored(store)["prepare"][0]) / "adapter.safetensors"
    file = tmp_path / "adapter.safetensors"
    file.write_bytes(made.read_bytes())
    given = run_config(config, overrides=[f"swapper.adapter={file}"], out=tmp_path / "given", store=store)
    assert given.video.read_bytes() == (tmp_path / "run" / "result.mp4").read_bytes()
    (tmp_path / "job" / "points.json").write_text(json.dumps({"points": {"a": [20, 20], "new": [30, 30]}}))
    with pytest.raises(InputError, match=r"adapter\.safetensors: adapter: registered without the point 'new'"):
        run_config(config, overrides=[f"swapper.adapter={file}"], out=tmp_path / "other", store=store)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["concept={name: text}", "prompt.replace={}"], "needs a source prompt and the subject's words in it"),
        (["prompt.replace={green car: x}"], "'green car' is not in the source prompt"),
        (["concept={name: text}", "prompt.replace={red car: ''}"], "nothing stands in place of 'red car'"),
        (["prompt.replace={red car: <toy> <other>}"], r"'<other>' is no word of .*toy\.pth, which knows <toy>"),
        (["prompt.replace={red car: blue boat}"], r"'a blue boat' has none of the words of .*toy\.pth: <toy>"),
        (["swapper.mask_scales=[3]"], "mask_scales"),
        (["embedder=null"], "needs an embedder component"),
        (["concept=null"], "needs a concept component"),
        (["swapper.adapter=CODE"], "holds more than tensors"),
        (["swapper.adapter=WIDE"], "registered for a U-Net with blocks of"),
        (["swapper.adapter_start=0.9"], "adapter_end: 0.5 is before its start, 0.9"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_loads(
    overrides: list[str], message: str, job: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vswap_kernel.errors import VswapError
    from vswap_kernel.registry import Component
    from vswap_swappers.point_diffusion.adapter import PointAdapter
    from vswap_swappers.point_diffusion.adapter_file import write_adapter

    torch.save({"model_list.0.mlp.0.weight": print}, tmp_path / "code.pth")
    write_adapter(tmp_path / "wide.safetensors", PointAdapter(8, (64, 64, 64, 64)))
    monkeypatch.setattr(Component, "create", lambda *_: pytest.fail("a component was made"))
    files = {"CODE": str(tmp_path / "code.pth"), "WIDE": str(tmp_path / "wide.safetensors")}
    overrides = ["=".join(files.get(part, part) for part in text.split("=")) for text in overrides]
    with pytest.raises(VswapError, match=message) as refused:
        run_config(job(), overrides=overrides, out=tmp_path / "run", store=tmp_path / "store")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_words_that_are_parts_of_others_are_named(job: Callable[..., Path], tmp_path: Path) -> None:
    config = job(prompt={"source": "a red car", "replace": {"re": "<toy>"}})
    with pytest.raises(InputError, match=r"'re' are no whole words within .* the source prompt 'a red car'"):
        run_config(config, out=tmp_path / "run", store=tmp_path / "store")


def test_the_preset_sets_what_is_not_given() -> None:
    from vswap_swappers.point_diffusion.options import REFERENCE, PointDiffusionOptions

    reference = PointDiffusionOptions(preset="reference", blend_end=0.9)
    assert {name: getattr(reference, name) for name in REFERENCE} == REFERENCE | {"blend_end": 0.9}
    assert PointDiffusionOptions().blend_end is None
