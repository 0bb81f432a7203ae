from __future__ import annotations

from pathlib import Path

import pytest

import small_plugin
from vswap_kernel.config import load_config
from vswap_kernel.errors import ConfigError, InputError, MissingExtraError
from vswap_kernel.plan import Plan, make_plan
from vswap_kernel.registry import Registry
from vswap_kernel.run import run_config
from vswap_kernel.store import Store

from .conftest import Job


@pytest.fixture
def plan_of(job: Job, registry: Registry) -> object:
    return lambda *overrides, **fields: make_plan(load_config(job(**fields), registry, overrides), registry)


def keys(plan: Plan) -> dict[str, str]:
    return {stage.name: stage.key for stage in plan.stages}


def changed(one: Plan, other: Plan) -> set[str]:
    mine, theirs = keys(one), keys(other)
    return {name for name in mine | theirs if mine.get(name) != theirs.get(name)}


ALL = {"source", "tracks", "masks", "targets", "prepare", "swap", "metric:share-changed", "result"}


def test_the_stages_of_a_job(plan_of) -> None:
    assert keys(plan_of()).keys() == ALL
    assert "canonical" in keys(plan_of(canonical={"name": "copy"}, edit={"move": {"nose": [3, 3]}}))
    assert "canonical" not in keys(plan_of(canonical={"name": "copy"}))  # nothing is moved


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("swapper.level=9", {"swap", "metric:share-changed", "result"}),
        ("swapper.depth=9", {"prepare", "swap", "metric:share-changed", "result"}),
        ("tracker.step=[1, 1]", {"tracks", "targets", "swap", "metric:share-changed", "result"}),
        ("edit.drop=[nose]", {"targets", "swap", "metric:share-changed", "result"}),
        ("output.format=gif", {"result"}),
        ("video.start=1", ALL),
        ("video.fps=30", ALL),
        ("output.keep_rest=false", {"result"}),
        ("device=cuda", set()),
        ("seed=5", set()),
    ],
)
def test_a_change_reruns_only_what_depends_on_it(plan_of, override: str, stages: set[str]) -> None:
    assert changed(plan_of(), plan_of(override)) == stages


def test_another_concept_is_another_swap_and_another_tracker_another_measurement(plan_of) -> None:
    sprite = {"name": "sprite", "shade": 3}
    picky = plan_of(swapper={"name": "picky"}, concept=sprite)
    other = plan_of(swapper={"name": "picky"}, concept=sprite | {"shade": 4})
    assert changed(picky, other) == {"swap", "metric:share-changed", "result"}
    assert (
        plan_of().stages[-2].ingredients["tracker"] != plan_of("tracker.step=[1, 1]").stages[-2].ingredients["tracker"]
    )


def test_the_seed_counts_only_where_somebody_uses_it(plan_of) -> None:
    random = {"name": "random-sprite"}
    one, other = (plan_of(f"seed={seed}", swapper={"name": "picky"}, concept=random) for seed in (1, 2))
    assert changed(one, other) == {"swap", "metric:share-changed", "result"}


def test_a_moved_file_changes_nothing_and_an_edited_one_does(plan_of, tmp_path: Path) -> None:
    first, second = tmp_path / "one.txt", tmp_path / "two.txt"
    first.write_text("same")
    second.write_text("same")
    before = plan_of(swapper={"name": "paint", "picture": "one.txt"})
    assert changed(before, plan_of(swapper={"name": "paint", "picture": "two.txt"})) == set()
    second.write_text("other")
    assert "prepare" in changed(before, plan_of(swapper={"name": "paint", "picture": "two.txt"}))


def dragged(plan_of, **edit: object) -> Plan:
    return plan_of(canonical={"name": "copy"}, edit=edit)


def test_keyframes_mean_the_same_in_whatever_order_they_are_listed(plan_of) -> None:
    nose, tail = {"nose": [3, 3]}, {"tail": [4, 5]}
    one = dragged(plan_of, frame=1, move=nose, also=[{"frame": 4, "move": tail}])
    other = dragged(plan_of, frame=4, move=tail, also=[{"frame": 1, "move": nose}])
    assert changed(one, other) == set()
    assert changed(one, dragged(plan_of, frame=1, move=nose)) == {"targets", "swap", "metric:share-changed", "result"}


def test_one_keyframe_has_one_key_however_it_is_written(plan_of) -> None:
    move = {"nose": [3, 3]}
    assert changed(dragged(plan_of, move=move), dragged(plan_of, also=[{"frame": 2, "move": move}])) == set()
    targets = next(stage for stage in dragged(plan_of, move=move).stages if stage.name == "targets")
    assert targets.ingredients["edit"] == {"frame": 2, "move": {"nose": [3.0, 3.0]}, "drop": []}


def test_a_plan_says_which_keyframe_changed(job: Job, registry: Registry, plan_of, tmp_path: Path) -> None:
    edit = {"move": {"nose": [9, 5]}, "also": [{"frame": 4, "move": {"nose": [8, 5]}}]}
    path = job(canonical={"name": "copy"}, edit=edit)
    run_config(path, out=tmp_path / "run", store=tmp_path / "store", registry=registry)
    plan = plan_of("edit.also.0.move.nose=[7, 5]", canonical={"name": "copy"}, edit=edit)
    why = {row["stage"]: row["why"] for row in plan.rows(Store(tmp_path / "store"))}
    assert why["targets"] == "edit.also.4.nose: [8.0, 5.0] -> [7.0, 5.0]"
    assert why["canonical"] == ""


def test_a_plan_says_which_input_changed(job: Job, registry: Registry, plan_of, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert {row["why"] for row in plan_of().rows(store)} == {"never computed"}
    run_config(job(), out=tmp_path / "run", store=store.root, registry=registry)
    assert {row["state"] for row in plan_of().rows(store)} == {"hit"}
    why = {row["stage"]: row["why"] for row in plan_of("tracker.step=[0.5, 2]").rows(store)}
    assert why["tracks"] == "options.step: [0.5, 0.0] -> [0.5, 2.0]"
    assert why["targets"] == "tracks changed"
    assert why["masks"] == ""


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"edit": {"drop": ["noze"]}}, ConfigError, "edit.drop: there is no point 'noze'; known: nose, tail"),
        ({"edit": {"drop": ["nose", "tail"]}}, ConfigError, "no point is left"),
        ({"edit": {"move": {"nose": [1, 1]}}}, ConfigError, "edit.move needs a canonical component"),
        (
            {"edit": {"move": {"nose": [1, 1]}, "frame": 6}, "canonical": {"name": "copy"}},
            ConfigError,
            "edit.frame: 6 is beyond the end, the video has 6 frames",
        ),
        ({"masks": None}, ConfigError, r"swapper 'paint' \(vswap-small 0.3\) needs a masks component"),
        ({"swapper": {"name": "picky"}}, ConfigError, "needs a concept component that offers cutout"),
        ({"swapper": {"name": "paint", "level": 13}}, InputError, "13 brings bad luck to nose, tail"),
        ({"tracker": {"name": "absent"}}, MissingExtraError, "pip install no-such"),
        ({"video": {"path": "frames", "start": 6}}, InputError, "6"),
        ({"video": {"path": "frames", "size": [-5, 10]}}, ConfigError, r"video\.size\.0: .*greater than or equal to 1"),
        ({"device": "cudda"}, ConfigError, "device: "),
        ({"edit": {"move": {"nose": [1, 900]}}, "canonical": {"name": "copy"}}, ConfigError, "far outside the 24x16"),
        ({"edit": {"move": {"nose": [1, float("nan")]}}, "canonical": {"name": "copy"}}, ConfigError, "finite number"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    plan_of,
    fields: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        plan_of(**fields)
    assert not small_plugin.calls


TAIL = {"tail": [1, 1]}


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ([{"frame": 2, "move": TAIL}], "edit.also.0.frame: 2 is the keyframe of edit.move too; join the two"),
        ([{"frame": 3, "move": TAIL}] * 2, "edit.also.1.frame: 3 is the keyframe of edit.also.0.move too"),
        ([{"frame": 6, "move": TAIL}], "edit.also.0.frame: 6 is beyond the end, the video has 6 frames"),
        ([{"frame": 3, "move": {"tale": [1, 1]}}], "edit.also.0.move: there is no point 'tale'; known: nose, tail"),
        ([{"frame": 3, "move": {"tail": [-25, 1]}}], r"edit.also.0.move: 'tail' to .* is far outside the 24x16 frame"),
        ([{"frame": 3, "move": {}}], "edit.also.0.move: .*at least 1 item"),
        ([{"frame": -1, "move": TAIL}], "edit.also.0.frame: .*greater than or equal to 0"),
        ([{"move": TAIL}], "edit.also.0.frame: missing"),
        ([{"frame": 3, "move": TAIL, "moves": {}}], r"edit.also.0.moves: unknown option; did you mean 'move'\?"),
        ({"frame": 3, "move": TAIL}, "edit.also: .*valid list"),
    ],
)
def test_keyframes_that_cannot_be_are_one_line(plan_of, also: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        dragged(plan_of, move={"nose": [1, 1]}, also=also)
    assert "\n" not in str(caught.value)


def test_moves_on_further_keyframes_alone_need_a_canonical_too(plan_of) -> None:
    with pytest.raises(ConfigError, match=r"edit\.move needs a canonical component"):
        plan_of(edit={"also": [{"frame": 3, "move": TAIL}]})
