from __future__ import annotations

from pathlib import Path

import pytest

from vswap_kernel.config import config_schema, load_config
from vswap_kernel.errors import ConfigError, InputError, VswapError
from vswap_kernel.registry import Registry

from .conftest import Job


def test_components_get_their_own_checked_options(job: Job, registry: Registry) -> None:
    config = load_config(job(), registry)
    assert config.families["tracker"].options.model_dump() == {"step": (0.5, 0.0)}
    assert [metric.name for metric in config.metrics] == ["share-changed"]
    assert config.title == "job"


def test_paths_are_relative_to_the_config_not_to_the_shell(
    job: Job, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = load_config(job(swapper={"name": "paint", "picture": "points.json"}), registry)
    assert config.settings.video.path == tmp_path / "frames"
    assert config.families["swapper"].options.model_dump()["picture"] == tmp_path / "points.json"


def test_overrides_reach_into_objects_and_lists(job: Job, registry: Registry) -> None:
    config = load_config(job(), registry, ["swapper.level=7", "video.frames=3", "metrics.0.name=share-changed"])
    assert config.families["swapper"].options.model_dump()["level"] == 7
    assert config.settings.video.frames == 3


def test_keyframes_of_an_edit_can_be_listed_and_overridden(job: Job, registry: Registry) -> None:
    listed = 'edit.also=[{"frame": 3, "move": {"nose": [1, 2]}}]'
    config = load_config(job(), registry, [listed, "edit.also.0.move.tail=[3, 4]", "edit.also.0.frame=5"])
    (more,) = config.settings.edit.also
    assert (more.frame, more.move) == (5, {"nose": (1.0, 2.0), "tail": (3.0, 4.0)})


def test_the_resolved_config_is_the_same_config(job: Job, registry: Registry, tmp_path: Path) -> None:
    import yaml

    edit = {"move": {"nose": [1, 2]}, "also": [{"frame": 3, "move": {"nose": [1, 2]}}]}
    config = load_config(job(edit=edit), registry)
    again = tmp_path / "elsewhere" / "job.yaml"
    again.parent.mkdir()
    again.write_text(yaml.safe_dump(config.as_dict()))
    assert load_config(again, registry).as_dict() == config.as_dict()


def test_words_of_the_prompt_are_replaced(job: Job, registry: Registry) -> None:
    config = load_config(job(prompt={"source": "a silver jeep", "replace": {"silver jeep": "red bus"}}), registry)
    assert config.settings.prompt.target == "a red bus"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trackr": {}}, r"unknown field 'trackr'; did you mean 'tracker'\?"),
        ({"tracker": None}, r"no tracker; add `tracker: \{name: lucas-kanade\}`"),
        ({"tracker": {"name": "drfit"}}, r"tracker\.name: unknown tracker 'drfit'; did you mean 'drift'\?"),
        ({"tracker": "drift"}, "tracker: expected a name and options"),
        (
            {"tracker": {"name": "drift", "stepp": 1}},
            r"tracker\.stepp: unknown option of drift \(vswap-small 0\.3\); did you mean 'step'\?",
        ),
        ({"swapper": {"name": "paint", "level": "dark"}}, r"swapper\.level: .*valid integer.*got 'dark'"),
        ({"swapper": {"name": "paint", "level": 900}}, r"swapper\.level: .*less than or equal to 255"),
        ({"swapper": {"name": "paint", "picture": "no.png"}}, r"swapper\.picture: no such file or folder: .*no\.png"),
        ({"swapper": {"name": "paint", "either": "no.png"}}, r"swapper\.either: no such file or folder: \S+no\.png$"),
        ({"video": {}}, r"video\.path: missing"),
        ({"video": {"path": "frames", "stride": 0}}, r"video\.stride: .*greater than or equal to 1"),
        ({"video": {"path": "frames", "strid": 2}}, r"video\.strid: unknown option; did you mean 'stride'\?"),
        ({"video": {"path": "nowhere"}}, r"video\.path: no such file or folder"),
        ({"metrics": {"name": "x"}}, "metrics: expected a list"),
        ({"metrics": [{"name": "share-changed"}] * 2}, "'share-changed' stands there more than once"),
        ({"prompt": {"source": "a dog", "replace": {"cat": "cow"}}}, "'cat' is not in the source prompt"),
        ({"seed": -1, "device": 3}, r"\(and 1 more\)"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_file_and_field(
    job: Job, registry: Registry, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(job(**fields), registry)
    assert "job.yaml: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "just words", "\x00"])
def test_what_is_not_a_config_is_told_in_one_line(tmp_path: Path, registry: Registry, text: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="not a config"):
        load_config(path, registry)


@pytest.mark.parametrize("override", ["nothing", "=3", "metrics.5.name=x", "seed.deep=1", "seed=[", "tracker=3"])
def test_a_wrong_override_is_an_error(job: Job, registry: Registry, override: str) -> None:
    with pytest.raises(VswapError):
        load_config(job(), registry, [override])


def test_the_schema_offers_every_component_tagged_by_its_name(registry: Registry) -> None:
    schema = config_schema(registry)
    members = {member["properties"]["name"]["const"]: member for member in schema["properties"]["tracker"]["oneOf"]}
    assert {"drift", "absent"} <= members.keys()
    assert "step" in members["drift"]["properties"]
    assert schema["properties"]["metrics"]["type"] == "array"
    assert {"video", "points", "tracker", "swapper"} <= set(schema["required"])
    assert schema["$defs"]["KeyframeMoves"]["required"] == ["frame", "move"]
