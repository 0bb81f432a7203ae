from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from vswap_kernel import cli
from vswap_kernel.encode import write_png
from vswap_kernel.errors import InputError
from vswap_kernel.points import read_points
from vswap_reference.translation import Translation, translate

TRACKS = np.zeros((12, 3, 2), np.float32)
TRACKS[..., 0] = np.arange(12)[:, None] + [0, 10, 20]
TRACKS[..., 1] = 8
TRACKS[0, 1] = -1  # hidden on the first frame
TRACKS[:, 2] = -1  # hidden everywhere


def save_tap(path: Path, tracks: Any) -> None:
    names = {"nose": 0, "tail": 1, "ghost": 2}
    torch.save({"pred_tracks": torch.from_numpy(tracks), "point_name2id": names}, path)


def option_file(root: Path, **fields: Any) -> Path:
    """An option file like the published ones, with its data beside it; keyword arguments set dotted fields (None: takes
    them out), with __ for the dot."""
    (root / "frames").mkdir(exist_ok=True)
    for index in range(12):
        write_png(root / "frames" / f"{index:05d}.png", np.full((32, 48, 3), 20 * index, np.uint8))
    save_tap(root / "TAP.pth", TRACKS)
    moved = TRACKS.copy()
    moved[:, 0] += (3, -2)
    save_tap(root / "TAP_other.pth", moved)
    for name in ("model", "concept.pth", "motion.ckpt"):
        (root / name).touch()
    data: dict[str, Any] = {
        "name": "0001_dog",
        "manual_seed": 7,
        "mixed_precision": "fp16",
        "gradient_checkpointing": True,
        "datasets": {
            "type": "SingleVideoPointDataset",
            "path": "frames",
            "tap_path": "TAP.pth",
            "prompt": "a brown dog on grass",
            "num_frames": 4,
            "total_frames": 11,
            "video_transform": [
                {"type": "Resize", "size": [32, 48]},
                {"type": "ToTensor"},
                {"type": "Normalize", "mean": [0.5], "std": [0.5]},
            ],
            "dataset_enlarge_ratio": 100,
        },
        "models": {
            "unet": {"type": "AnimateDiffUNet3DModel", "motion_module_path": "motion.ckpt"},
            "adapter": {"type": "SparsePointAdapter", "model_config_path": "adapter.yml"},
        },
        "path": {"pretrained_model_path": "model"},
        "train": {
            "optimizer": {"type": "AdamW", "lr": "5e-4", "weight_decay": 0.01, "betas": [0.9, 0.999]},
            "tune_cfg": {"drop_rate": 0.2, "min_timestep": 0.5, "loss_type": "local"},
            "total_iter": 100,
        },
        "val": {
            "val_freq": 100,
            "editing_config": {
                "use_invertion_latents": True,
                "use_blend": True,
                "guidance_scale": 7.5,
                "negative_prompt": "blurry",
                "num_inference_steps": 50,
                "t2i_guidance_scale": 1.0,
                "t2i_end": 0.5,
                "editing_prompts": {
                    "to_cat": {"replace": "brown dog -> grey cat", "lora_path": None, "select_point": None},
                    "to_concept": {
                        "replace": "brown dog -> <a1> <a2>",
                        "lora_path": "concept.pth---0.7",
                        "tap_path": "TAP_other.pth",
                        "select_point": ["nose"],
                        "t2i_guidance_scale": 0.3,
                        "blend_cfg": {"cross_replace_steps": 0.2, "blend_th": 0.2},
                    },
                },
            },
        },
        "logger": {"print_freq": 10},
    }
    for dotted, value in fields.items():
        *parents, last = dotted.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        place[last] = value
    path = root / "options.yml"
    path.write_text(yaml.safe_dump(data))
    return path


def imported(root: Path, **fields: Any) -> Translation:
    return translate(option_file(root, **fields), root, root / "out")


def test_every_field_of_an_edit_has_its_place(tmp_path: Path) -> None:
    made = imported(tmp_path)
    assert made.configs.keys() == {"to_cat", "to_concept"}
    config = made.configs["to_concept"]
    assert config["video"] == {"path": "../frames", "frames": 4, "stride": 3, "size": [48, 32]}
    assert config["prompt"] == {"source": "a brown dog on grass", "replace": {"brown dog": "<a1> <a2>"}}
    assert config["concept"] == {"name": "ed-lora", "weights": "../concept.pth", "strength": 0.7}
    assert config["motion"] == {"name": "animatediff", "weights": "../motion.ckpt"}
    assert config["backbone"] == {"name": "sd15", "weights": "../model"}
    assert config["swapper"] == {
        "name": "point-diffusion",
        "preset": "reference",
        "steps": 50,
        "guidance": 7.5,
        "negative_prompt": "blurry",
        "adapter_strength": 0.3,
        "adapter_end": 0.5,
        "latent_blend": True,
        "blend_threshold": 0.2,
        "cross_replace": 0.2,
        "gradient_checkpointing": True,
        "registration_steps": 100,
        "learning_rate": 5e-4,
        "weight_decay": 0.01,
        "point_dropout": 0.2,
        "lowest_timestep": 0.5,
        "loss": "local",
    }
    assert (config["seed"], config["dtype"], config["device"]) == (7, "float16", "cuda")
    assert made.configs["to_cat"]["concept"] == {"name": "text"}
    assert made.configs["to_cat"]["swapper"]["adapter_strength"] == 1.0


def test_points_come_from_the_edited_frame_where_most_are_seen(tmp_path: Path) -> None:
    made = imported(tmp_path)
    assert (made.points.frame, made.points.names, made.points.size) == (1, ("nose", "tail"), (48, 32))
    assert made.points.xy.tolist() == [[3, 8], [13, 8]]
    assert any("ghost" in note for note in made.notes)


def test_tracks_of_the_edited_frames_alone_are_taken_as_they_are(tmp_path: Path) -> None:
    path = option_file(tmp_path)
    save_tap(tmp_path / "TAP.pth", TRACKS[1:5])
    assert translate(path, tmp_path, tmp_path / "out").points.xy.tolist() == [[1, 8], [11, 8]]


def test_chosen_and_moved_points_become_an_edit(tmp_path: Path) -> None:
    config = imported(tmp_path).configs["to_concept"]
    assert config["edit"] == {"drop": ["tail"], "move": {"nose": [6.0, 6.0]}, "frame": 1}
    assert config["canonical"] == {"name": "keyframe"}


def test_nothing_is_dropped_silently(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        datasets__new_field=3,
        val__editing_config__editing_prompts__to_cat__mood="sad",
        val__editing_config__use_invertion_latents=False,
        path__pretrained_model_path="absent",
    )
    assert "not carried over: datasets.new_field: 3" in made.notes
    assert "not carried over: models.adapter.model_config_path: 'adapter.yml'" in made.notes
    assert "not carried over: val.editing_config.use_invertion_latents: False" in made.notes
    assert any(note.startswith("no such file or folder") and "absent" in note for note in made.notes)
    assert "not carried over: val.editing_config.editing_prompts.to_cat.mood: 'sad'" in made.edit_notes["to_cat"]
    assert not any("logger" in note or "val_freq" in note or "SparsePoint" in note for note in made.notes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"datasets__prompt": None}, "datasets.prompt: missing"),
        ({"manual_seed": "seven"}, "manual_seed: expected a whole number, got 'seven'"),
        ({"mixed_precision": "fp8"}, "mixed_precision: expected fp16, bf16, no"),
        ({"datasets__num_frames": 30}, "num_frames 30 of total_frames 11"),
        ({"datasets__tap_path": "absent.pth"}, "no such file"),
        ({"val__editing_config__editing_prompts__to_cat__replace": "cat"}, "expected 'old words -> new words'"),
        ({"val__editing_config__editing_prompts__to_cat__select_point": ["wing"]}, "no point 'wing'; known: nose"),
        ({"val__editing_config__editing_prompts": {"x": 3}}, "editing_prompts.x: expected fields"),
        ({"models__FG_UV_Mapping": {"pe_dim": 4}}, "of the layered atlas"),
    ],
)
def test_what_cannot_be_imported_is_told(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        imported(tmp_path, **fields)


def test_the_command_writes_configs_with_their_notes_and_the_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = option_file(tmp_path, datasets__new_field=3)
    with pytest.raises(SystemExit) as ended:
        cli.main(["import-reference", str(path), "--root", str(tmp_path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "out" / f"{edit}.yaml") for edit in ("to_cat", "to_concept")]
    assert "note: not carried over: datasets.new_field: 3" in said.err
    text = (tmp_path / "out" / "to_cat.yaml").read_text()
    assert "# not carried over: datasets.new_field: 3" in text
    assert yaml.safe_load(text)["video"]["path"] == "../frames"
    assert read_points(tmp_path / "out" / "points.json").names == ("nose", "tail")


def test_options_that_this_installation_lacks_are_taken_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vswap_kernel.registry import Registry

    path = option_file(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["import-reference", str(path), "--root", str(tmp_path), "--out", str(tmp_path / "out")])
    written = yaml.safe_load((tmp_path / "out" / "to_concept.yaml").read_text())
    registry, said = Registry.discover(), capsys.readouterr().err
    for family in ("backbone", "motion", "concept", "embedder", "tracker", "canonical"):
        known = {"name", *registry.get(family, written[family]["name"]).spec.options.model_fields}
        assert written[family].keys() <= known
    made = translate(path, tmp_path, tmp_path / "out")
    for option in made.configs["to_concept"]["swapper"].keys() - written["swapper"].keys():
        assert f"no option {option}:" in said


def test_every_option_that_is_carried_over_is_one_of_the_components(tmp_path: Path) -> None:
    from vswap_kernel.registry import Registry

    registry = Registry.discover()
    for config in imported(tmp_path).configs.values():
        for family in ("swapper", "embedder", "concept", "motion", "backbone"):
            known = registry.get(family, config[family]["name"]).spec.options.model_fields
            assert config[family].keys() - known.keys() <= {"name"}


def test_other_words_are_replaced_behind_the_subjects(tmp_path: Path) -> None:
    made = imported(tmp_path, val__editing_config__editing_prompts__to_cat__replace_other="grass -> snow")
    replaced = made.configs["to_cat"]["prompt"]["replace"]
    assert list(replaced.items()) == [("brown dog", "grey cat"), ("grass", "snow")]
    assert not any("replace_other" in note for note in made.edit_notes["to_cat"])
