"""`ensemble`: who decides, and what may be a member."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import small_plugin
import wayward_trackers
from vswap_kernel.api import Context
from vswap_kernel.config import component_options, config_schema, load_config
from vswap_kernel.encode import write_png
from vswap_kernel.errors import ConfigError, InputError, MissingExtraError
from vswap_kernel.plan import Plan, make_plan
from vswap_kernel.registry import Registry
from vswap_kernel.types import PointQueries, PointTracks, Video

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

from vswap_trackers.ensemble import Ensemble
from vswap_trackers.register import EnsembleOptions

SIZE, STEP = (64, 48), (2.0, 1.0)
TRUE = {"name": "drift", "step": STEP}
OTHER = {"name": "drift", "step": (-2.0, 0.5)}
WANDERING = {"name": "wandering", "step": STEP}


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """What is installed, and small components; `discover` finds them."""
    found = Registry.discover()
    for module in (small_plugin, wayward_trackers):
        assert found.add(lambda module=module: module, module.__name__, "vswap-small", "0.3").status == "ok"
    monkeypatch.setattr(Registry, "discover", staticmethod(lambda: found))
    return found


def options(*members: dict[str, Any], **more: Any) -> EnsembleOptions:
    return EnsembleOptions.model_validate({"trackers": members, **more})


def video(frames: int = 10) -> Video:
    return Video(np.zeros((frames, SIZE[1], SIZE[0], 3), np.uint8), 25.0)


def queries(xy: Any = ((10, 10), (30, 20)), frame: Any = 0) -> PointQueries:
    names = tuple("abcdefgh"[: len(xy)])
    return PointQueries(names, np.full(len(xy), frame, np.int32), np.array(xy, np.float32).reshape(-1, 2))


def track(scratch: Path, asked: PointQueries, *members: dict[str, Any], frames: int = 10, **more: Any) -> PointTracks:
    return Ensemble(options(*members, **more), Context(scratch)).track(video(frames), asked)


def moved(asked: PointQueries, frames: int = 10) -> Any:
    return asked.xy + (np.arange(frames)[:, None] - asked.frame)[..., None] * np.array(STEP)


def test_the_one_who_does_not_find_back_is_outvoted(tmp_path: Path) -> None:
    asked = queries(frame=[0, 9])
    asked = replace(asked, xy=asked.xy + np.array([[0, 0], [10, 10]], np.float32))
    found = track(tmp_path, asked, WANDERING, TRUE)
    np.testing.assert_allclose(found.xy, moved(asked), atol=1.6)
    far = abs(np.arange(10)[:, None] - asked.frame) > 1  # before, both say the same
    np.testing.assert_allclose(found.xy[far], moved(asked)[far], atol=1e-4)
    assert found.visible.all()


def test_without_the_way_back_it_could_not_be_told(tmp_path: Path) -> None:
    asked = queries()
    found = track(tmp_path, asked, WANDERING, TRUE, cycle=None)
    assert np.linalg.norm(found.xy[-1] - moved(asked)[-1], axis=1).min() > 20


def test_two_that_agree_outvote_a_third_that_finds_back_too(tmp_path: Path) -> None:
    asked = queries([(30, 10), (40, 20)])
    found = track(tmp_path, asked, OTHER, TRUE, TRUE)
    np.testing.assert_allclose(found.xy[3:], moved(asked)[3:], atol=1e-4)
    assert found.confidence[0].tolist() == [1.0, 1.0]
    assert 0.6 < found.confidence[-1].min() <= found.confidence[-1].max() < 0.7  # two of three


def test_a_point_is_visible_by_the_weights_of_those_who_see_it(tmp_path: Path) -> None:
    blind = {"name": "blind", "step": STEP}
    assert track(tmp_path, queries(), blind, TRUE, TRUE).visible.all()
    seen = track(tmp_path, queries(frame=[0, 4]), blind, blind, TRUE).visible
    np.testing.assert_array_equal(seen, np.arange(10)[:, None] == [0, 4])


def test_half_of_the_weights_keep_a_point_visible_as_long_as_it_was(tmp_path: Path) -> None:
    half = {"name": "blind", "step": STEP}
    assert track(tmp_path, queries(), half, TRUE, hide=0.4, show=0.6).visible.all()
    assert not track(tmp_path, queries(), half, TRUE, hide=0.6, show=0.6).visible[1:].any()


def test_points_are_exact_on_their_keyframes_and_never_visible_out_of_the_frame(tmp_path: Path) -> None:
    asked = queries([(50, 30), (20, 20)], [3, 7])
    found = track(tmp_path, asked, TRUE, OTHER)
    np.testing.assert_array_equal(found.xy[asked.frame, [0, 1]], asked.xy)
    assert found.visible[asked.frame, [0, 1]].all()
    beyond = (found.xy[..., 0] > SIZE[0] - 0.5) | (found.xy[..., 0] < -0.5)
    assert not found.visible[beyond].any()
    assert found.size == SIZE


@pytest.mark.parametrize(("frames", "points"), [(1, 2), (5, 0), (2, 1)])
def test_short_videos_and_no_points(frames: int, points: int, tmp_path: Path) -> None:
    asked = queries([(10, 10), (30, 20)][:points])
    found = track(tmp_path, asked, TRUE, OTHER, frames=frames)
    assert found.xy.shape == (frames, points, 2)
    assert found.visible[0].all()


def test_members_are_asked_back_from_every_eighth_frame_and_not_for_too_many_points(tmp_path: Path) -> None:
    made = Ensemble(options({"name": "noting"}), Context(tmp_path))
    made.track(video(33), queries())
    member: Any = made._members[0]
    assert member.asked == [("a", "b"), tuple(f"{t} {name}" for t in (0, 6, 13, 19, 26, 32) for name in "ab")]
    many = PointQueries(tuple(map(str, range(3000))), np.zeros(3000, np.int32), np.ones((3000, 2), np.float32))
    made.track(video(33), many)
    assert len(member.asked) == 3


def test_a_member_that_knows_points_by_name_only_is_trusted_as_it_says(tmp_path: Path) -> None:
    asked = queries()
    found = track(tmp_path, asked, {"name": "byname", "step": STEP}, WANDERING)
    np.testing.assert_allclose(found.xy[4:], moved(asked)[4:], atol=1e-4)


def test_each_member_has_a_scratch_of_its_own(tmp_path: Path) -> None:
    made = Ensemble(options(TRUE, OTHER), Context(tmp_path))
    folders = {member.context.scratch for member in made._members}  # type: ignore[attr-defined]
    assert folders == {tmp_path / "member-0", tmp_path / "member-1"}
    assert all(folder.is_dir() for folder in folders)


def test_a_keyframe_beyond_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="point 'a': keyframe 9 is beyond the end; the video has 5 frames"):
        track(tmp_path, queries(frame=9), TRUE, frames=5)


def configured(registry: Registry, *members: Any, **more: Any) -> Any:
    component = registry.get("tracker", "ensemble")
    return component_options(component, {"trackers": list(members), **more}, Path())


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"name": "lucas-kanada"}, r"member 1: unknown tracker 'lucas-kanada'; did you mean 'lucas-kanade'"),
        ({}, r"member 1: unknown tracker ''"),
        ({"name": "ensemble"}, "member 1: an ensemble can't be a member of an ensemble"),
        ({"name": "feature-match"}, "member 1: 'feature-match' works with another component of the config"),
        ({"name": "dis-flow", "gap": 3}, r"member 1: tracker/dis-flow: gap: unknown option .*did you mean 'gaps'"),
        ({"name": "dis-flow", "short_side": "x"}, "member 1: tracker/dis-flow: short_side: .*, got 'x'"),
        ({"name": "onnx", "model": "none.onnx"}, "member 1: tracker/onnx: model: no such file or folder: .*none.onnx"),
        ("dis-flow", "valid dictionary"),
    ],
)
def test_a_wrong_member_is_told_in_one_line(registry: Registry, member: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"tracker/ensemble: trackers.*: .*{message}") as told:
        configured(registry, {"name": "drift"}, member)
    assert "\n" not in str(told.value)


def test_no_members_are_refused(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"trackers: .*at least 1 item"):
        configured(registry)


def test_a_member_stands_there_with_all_its_options_and_where_it_comes_from() -> None:
    (member,) = options({"name": "drift"}).trackers
    assert member == {"name": "drift", "step": (0.0, 0.0), "made_by": "vswap-small 0.3 revision 1"}


@pytest.fixture
def plan_of(tmp_path: Path, registry: Registry) -> Any:
    """The plan of a job of 6 frames with an ensemble."""
    (tmp_path / "frames").mkdir()
    for index in range(6):
        write_png(tmp_path / "frames" / f"{index}.png", np.full((16, 24, 3), 40 * index, np.uint8))
    (tmp_path / "points.json").write_text(json.dumps({"frame": 2, "points": {"nose": [6, 4]}}))

    def plan(*members: dict[str, Any], folder: Path = tmp_path) -> Plan:
        config = {
            "video": {"path": str(tmp_path / "frames"), "fps": 10},
            "points": {"file": str(tmp_path / "points.json")},
            "tracker": {"name": "ensemble", "trackers": members},
            "masks": {"name": "middle"},
            "swapper": {"name": "paint"},
        }
        folder.mkdir(exist_ok=True)
        (folder / "job.yaml").write_text(json.dumps(config))
        return make_plan(load_config(folder / "job.yaml", registry), registry)

    return plan


def key(plan: Plan) -> str:
    return next(stage.key for stage in plan.stages if stage.name == "tracks")


def test_a_member_s_options_count_in_the_key_of_the_stage(plan_of: Any) -> None:
    before = key(plan_of({"name": "drift"}, {"name": "drift"}))
    assert key(plan_of({"name": "drift"}, {"name": "drift", "step": [0, 0]})) == before
    assert key(plan_of({"name": "drift"}, {"name": "drift", "step": [0, 1]})) != before
    assert key(plan_of({"name": "drift"})) != before


@pytest.mark.parametrize("what", ["version", "revision"])
def test_a_member_s_version_counts_in_the_key_of_the_stage(
    plan_of: Any, what: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, known = key(plan_of({"name": "drift"})), registry.get
    assert key(plan_of({"name": "drift"})) == before

    def raised(family: str, name: str) -> Any:
        found = known(family, name)
        if name != "drift":
            return found
        return (
            replace(found, version="0.4") if what == "version" else replace(found, spec=replace(found.spec, revision=2))
        )

    monkeypatch.setattr(registry, "get", raised)
    assert key(plan_of({"name": "drift"})) != before


def test_the_content_of_a_member_s_file_counts_and_its_name_does_not(plan_of: Any, tmp_path: Path) -> None:
    for name, text in (("one", "same"), ("two", "same"), ("three", "other")):
        (tmp_path / name).write_text(text)
    first, second, third = (key(plan_of({"name": "byname", "file": name})) for name in ("one", "two", "three"))
    assert first == second != third


def test_a_member_s_file_is_relative_to_the_config_s_folder(plan_of: Any, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "weights").write_text("w")
    member = {"name": "byname", "file": "weights"}
    (found,) = plan_of(member, folder=tmp_path / "jobs").config.families["tracker"].options.trackers
    assert found["file"] == tmp_path / "jobs" / "weights"
    with pytest.raises(ConfigError, match=r"job.yaml: tracker.trackers.*no such file or folder: .*weights"):
        plan_of(member)


def test_the_config_that_a_run_keeps_makes_the_same_plan_again(
    plan_of: Any, tmp_path: Path, registry: Registry
) -> None:
    (tmp_path / "weights").write_text("w")
    plan = plan_of({"name": "byname", "file": "weights"}, {"name": "dis-flow"})
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "job.yaml"
    again.write_text(json.dumps(plan.config.as_dict()))
    assert key(make_plan(load_config(again, registry), registry)) == key(plan)


def test_what_a_member_can_t_do_is_told_before_the_run(plan_of: Any) -> None:
    with pytest.raises(InputError, match="refusing: 6 frames are too few; give 10"):
        plan_of({"name": "drift"}, {"name": "refusing"})
    with pytest.raises(MissingExtraError, match="needs no_such_package, not installed here; run: pip install no-such"):
        plan_of({"name": "drift"}, {"name": "absent"})


def test_the_schema_of_configs_is_valid_json_with_the_members_in_it(registry: Registry) -> None:
    schema = json.loads(json.dumps(config_schema(registry), allow_nan=False))
    found = {member["properties"]["name"]["const"]: member for member in schema["properties"]["tracker"]["oneOf"]}
    members = found["ensemble"]["properties"]["trackers"]
    assert members["items"]["type"] == "object"
    assert [member["name"] for member in members["default"]] == ["lucas-kanade", "dis-flow", "toytrack"]
