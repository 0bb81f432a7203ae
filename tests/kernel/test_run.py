from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import small_plugin
from vswap_kernel.api import Context, FinishedRun, StageEvent, hookimpl
from vswap_kernel.errors import InputError, PluginError
from vswap_kernel.registry import Registry
from vswap_kernel.run import RunOutcome, run_config
from vswap_kernel.store import Store
from vswap_kernel.types import PointTracks, SwapResult

from .conftest import Job


@pytest.fixture
def run(job: Job, registry: Registry, tmp_path: Path):
    def call(*overrides: str, out: str = "run", **fields: object) -> RunOutcome:
        path = job(**fields)
        return run_config(path, overrides=overrides, out=tmp_path / out, store=tmp_path / "store", registry=registry)

    return call


def stage_folder(outcome: RunOutcome, name: str) -> Path:
    return outcome.folder / "stages" / name


def test_a_run_leaves_config_plan_environment_events_result_and_metrics(run) -> None:
    outcome = run()
    names = {path.name for path in outcome.folder.iterdir()}
    assert {
        "config.yaml",
        "plan.json",
        "environment.json",
        "events.jsonl",
        "stages",
        "result.mp4",
        "metrics.json",
    } <= names
    assert outcome.metrics["share-changed.nothing"] is None
    assert outcome.metrics["share-changed.share"] == pytest.approx(4 * 6 / (24 * 16), rel=0.3)
    environment = json.loads((outcome.folder / "environment.json").read_text())
    assert environment["plugins"] == {"vswap-small:small": "0.3 ok"}
    events = [json.loads(line) for line in (outcome.folder / "events.jsonl").read_text().splitlines()]
    assert [e["stage"] for e in events if e["kind"] == "done"][:3] == ["source", "tracks", "masks"]


def test_the_resolved_config_runs_from_the_run_folder_and_computes_nothing(
    run,
    registry: Registry,
    tmp_path: Path,
) -> None:
    outcome = run()
    small_plugin.calls.clear()
    run_config(outcome.folder / "config.yaml", out=tmp_path / "again", store=tmp_path / "store", registry=registry)
    assert not small_plugin.calls


def test_two_runs_that_differ_in_the_swapper_track_and_prepare_once(run) -> None:
    first = run("swapper.level=10", out="first")
    second = run("swapper.level=200", out="second")
    assert small_plugin.calls == {"track": 1, "segment": 1, "prepare": 1, "swap": 2}
    assert first.video.read_bytes() != second.video.read_bytes()


def test_a_drag_and_a_drop_reach_the_targets(run) -> None:
    outcome = run(
        canonical={"name": "copy"}, edit={"move": {"nose": [9, 5]}, "drop": ["tail"]}, tracker={"name": "drift"}
    )
    targets = PointTracks.load(stage_folder(outcome, "targets"))
    assert targets.names == ("nose",)
    np.testing.assert_array_equal(targets.xy[:, 0], np.tile(np.float32([9, 5]), (6, 1)))
    swap = SwapResult.load(stage_folder(outcome, "swap"))
    assert (swap.subject.frames[:, 5, 9] == 255).all()
    assert (swap.subject.frames[:, 12, 10] == 0).all()


def test_drags_on_several_keyframes_blend_for_any_canonical_and_it_is_fitted_once(run) -> None:
    edit = {"frame": 1, "move": {"nose": [9, 5]}, "also": [{"frame": 5, "move": {"nose": [5, 9], "tail": [11, 12]}}]}
    outcome = run(canonical={"name": "copy"}, edit=edit, tracker={"name": "drift"})
    assert small_plugin.calls["fit"] == 1
    targets = PointTracks.load(stage_folder(outcome, "targets"))
    np.testing.assert_array_equal(targets.xy[:, 0], np.float32([[9, 5], [9, 5], [8, 6], [7, 7], [6, 8], [5, 9]]))
    np.testing.assert_array_equal(targets.xy[:, 1], np.tile(np.float32([11, 12]), (6, 1)))


def test_the_run_folder_owns_its_result_and_the_store_cannot_be_damaged_through_it(run, tmp_path: Path) -> None:
    outcome = run()
    outcome.video.chmod(0o644)
    outcome.video.write_bytes(b"overwritten")
    store = Store(tmp_path / "store")
    assert [entry.key for entry in store.entries() if store.damaged(entry.key)] == []


def test_a_component_that_breaks_its_contract_is_named_with_its_version(run, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"tracker 'short' \(vswap-small 0\.3\) returned frames 5, expected 6"):
        run(tracker={"name": "short"})
    assert [entry.stage for entry in Store(tmp_path / "store").entries()] == ["source"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tracker": {"name": "renaming"}}, r"tracker 'renaming' .* returned names \('NOSE', 'TAIL'\)"),
        ({"masks": {"name": "tiny"}}, r"masks 'tiny' .* returned size \(3, 3\), expected \(24, 16\)"),
    ],
)
def test_an_answer_of_another_kind_is_not_stored(run, tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        run(**fields)
    assert not {"masks", "tracks"} <= {entry.stage for entry in Store(tmp_path / "store").entries()}


def test_a_displacement_that_is_not_valid_hides_the_target(run) -> None:
    outcome = run(canonical={"name": "bent"}, edit={"move": {"nose": [9, 5]}})
    assert not PointTracks.load(stage_folder(outcome, "targets")).visible.any()


def test_each_component_is_given_the_seed_only_if_it_says_so(run) -> None:
    small_plugin.Sprite.seen_seeds.clear()
    for name in ("sprite", "random-sprite"):
        with pytest.raises(PluginError, match="AssertionError"):  # picky is given no masks
            run("seed=7", masks=None, swapper={"name": "picky"}, concept={"name": name}, metrics=[])
    assert small_plugin.Sprite.seen_seeds == []  # prepare is given no concept
    for name in ("sprite", "random-sprite"):
        run("seed=7", swapper={"name": "picky"}, concept={"name": name}, out=name)
    assert small_plugin.Sprite.seen_seeds == [0, 7]


def test_a_component_that_raises_is_one_line_with_the_cause_kept(run, tmp_path: Path) -> None:
    with pytest.raises(
        PluginError, match=r"tracks: tracker/crashing \(vswap-small 0\.3\) failed: ZeroDivisionError"
    ) as e:
        run(tracker={"name": "crashing"})
    assert isinstance(e.value.__cause__, ZeroDivisionError)
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_a_missing_method_is_told(run, registry: Registry) -> None:
    from small_plugin import made_up

    made = ModuleType("made")
    made.vswap_trackers = hookimpl(lambda: [made_up(factory="small_plugin:Middle")])
    registry.add(lambda: made, "other", "vswap-other", "1")
    with pytest.raises(PluginError, match=r"small_plugin:Middle has no method track\(\)"):
        run(tracker={"name": "made-up"})


def test_observers_see_everything_and_one_that_fails_is_named_and_asked_no_more(
    job: Job, registry: Registry, tmp_path: Path
) -> None:
    made, asked, seen = ModuleType("made"), [], []

    @hookimpl
    def vswap_stage_event(event: StageEvent) -> None:
        asked.append(event)
        raise RuntimeError("watching hurts")

    made.vswap_stage_event = vswap_stage_event
    registry.add(lambda: made, "watcher", "vswap-watcher", "1")
    run_config(job(), out=tmp_path / "r", store=tmp_path / "s", registry=registry, observer=seen.append)
    assert len(asked) == 1
    assert [e.message for e in seen if e.kind == "warning"] == [
        "plugin vswap-watcher:watcher failed while watching: RuntimeError: watching hurts"
    ]
    assert {"start", "progress", "done"} <= {event.kind for event in seen}


def test_wrappers_surround_the_work_of_each_stage(job: Job, registry: Registry, tmp_path: Path) -> None:
    made, order = ModuleType("made"), []

    @hookimpl(wrapper=True)
    def vswap_run_stage(stage, call):
        order.append(f"before {stage.name} {small_plugin.calls['track']}")
        result = yield
        order.append(f"after {stage.name} {small_plugin.calls['track']}")
        return result

    made.vswap_run_stage = vswap_run_stage
    registry.add(lambda: made, "profiler", "vswap-profiler", "1")
    run_config(job(), out=tmp_path / "r", store=tmp_path / "s", registry=registry)
    assert order[2:4] == ["before tracks 0", "after tracks 1"]


def test_report_writers_are_called_and_a_failing_one_loses_nothing(
    job: Job, registry: Registry, tmp_path: Path
) -> None:
    made, seen = ModuleType("made"), []

    @hookimpl
    def vswap_write_report(run: FinishedRun) -> Path:
        if "swap" in run.artefacts and run.video.is_file() and len(run.source) == len(run.result):
            (run.folder / "page.txt").write_text(run.title)
        return run.folder / "page.txt"

    broken = ModuleType("broken")
    broken.vswap_write_report = hookimpl(lambda run: 1 / 0)
    made.vswap_write_report = vswap_write_report
    registry.add(lambda: made, "page", "vswap-page", "1")
    registry.add(lambda: broken, "bad", "vswap-bad", "1")
    outcome = run_config(job(), out=tmp_path / "r", store=tmp_path / "s", registry=registry, observer=seen.append)
    assert outcome.report is not None
    assert outcome.report.read_text() == "job"
    assert "vswap-bad:bad could not write its report" in next(e.message for e in seen if e.kind == "warning")


def test_an_output_that_cannot_be_written_is_one_line(run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        run(out="file/run")


@pytest.mark.parametrize("damage", [b"", b"other bytes of whatever length", "flip"])
def test_a_damaged_result_is_told_of_and_computed_again(
    job: Job, registry: Registry, tmp_path: Path, damage: bytes | str
) -> None:
    first = run_config(job(), out=tmp_path / "r", store=tmp_path / "s", registry=registry)
    whole, seen = first.video.read_bytes(), []
    stored = (first.folder / "stages" / "result" / "result.mp4").resolve()
    stored.chmod(0o644)
    stored.write_bytes(damage if isinstance(damage, bytes) else whole[:-1] + b"x")
    again = run_config(job(), out=tmp_path / "r", store=tmp_path / "s", registry=registry, observer=seen.append)
    assert again.video.read_bytes() == whole
    if damage == "flip":  # of the right size: only reading it tells
        assert "result.mp4" in next(event.message for event in seen if event.kind == "warning")


def test_another_run_into_the_same_folder_leaves_nothing_old_beside_what_is_new(run, tmp_path: Path) -> None:
    run("output.format=gif")
    with pytest.raises(PluginError):
        run(tracker={"name": "crashing"})
    assert not {"result.gif", "metrics.json"} & {path.name for path in (tmp_path / "run").iterdir()}


def test_a_run_folder_that_holds_an_input_is_refused(run, tmp_path: Path) -> None:
    before = (tmp_path / "points.json").read_text()
    with pytest.raises(InputError, match="which this run reads; choose another with --out"):
        run(out=".")
    assert (tmp_path / "points.json").read_text() == before


def test_masks_that_hold_no_point_are_refused(run) -> None:
    with pytest.raises(InputError, match="none of the points is on the subject's mask in frame 2"):
        run(masks={"name": "nothing"})


def test_scratch_left_after_a_result_was_stored_goes_with_the_next_hit(run, tmp_path: Path) -> None:
    run()
    (entry,) = [entry for entry in Store(tmp_path / "store").entries() if entry.stage == "tracks"]
    left = tmp_path / "store" / "scratch" / entry.key
    left.mkdir()
    (left / "checkpoint").write_text("")
    run()
    assert not left.exists()


def test_a_hit_counts_as_use_when_pruning(run, tmp_path: Path) -> None:
    import os

    run()
    store = Store(tmp_path / "store")
    for entry in store.entries():
        os.utime(entry.path / "manifest.json", (1e9, 1e9))
    run("tracker.step=[0, 0]", out="other")
    pruned = {entry.stage for entry in store.prune(older_than=1e6)}
    assert "tracks" in pruned
    assert "source" not in pruned


def test_a_part_of_a_stage_is_kept_by_what_it_depends_on_alone(tmp_path: Path) -> None:
    from vswap_kernel.plan import Stage
    from vswap_kernel.run import _kept_part
    from vswap_kernel.stages import Work

    store, made = Store(tmp_path), list[Path]()

    def make(scratch: Path, out: Path) -> None:
        made.append(scratch)
        (out / "answer").write_text("42")

    def folder(backbone: str = "a", tracks: str = "t", rate: float = 1.0, steps: int = 5) -> Path:
        ingredients = {"inputs": {"source": "s", "tracks": tracks}, "backbone": backbone, "options": {"rate": rate}}
        stage = Stage("prepare", "swapper/x", (), ingredients, Work())
        return _kept_part(stage, store, "inversion", ("source", "backbone"), {"steps": steps}, make)

    assert (folder() / "answer").read_text() == "42"
    assert folder(tracks="other", rate=2.0) == folder()
    assert len(made) == 1
    assert len({folder(backbone="b"), folder(steps=6), folder()}) == 3
    assert [entry.stage for entry in store.entries()] == ["inversion"] * 3


def test_without_a_kernel_a_part_is_made_in_the_scratch_folder(tmp_path: Path) -> None:
    made = Context(tmp_path).part("inversion", (), {}, lambda scratch, out: (out / "x").write_text(str(scratch)))
    assert (made / "x").read_text() == str(tmp_path)
