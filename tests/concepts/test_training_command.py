"""`vswap concept train`: from files to files, and wrong input in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vswap_kernel.encode import write_png
from vswap_kernel.errors import InputError, VswapError

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

NAME = "<toyA1> <toyA2>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_diffusion import write_model

    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("pictures", "masks", "prior"):
        (tmp_path / kind).mkdir()
    for index in range(3):
        picture = np.full((72, 96, 3), 60 * index, np.uint8)
        picture[20:50, 20:90] = (220, 40, 30)
        mask = np.zeros((72, 96), np.uint8)
        mask[20:50, 20:90] = 255
        write_png(tmp_path / "pictures" / f"{index}.png", picture)
        write_png(tmp_path / "masks" / f"{index}.png", mask)
        write_png(tmp_path / "prior" / f"{index}.png", picture[::-1])
    return tmp_path


def run(folder: Path, model: Path, *more: str, **options: str) -> Any:
    import typer
    from typer.testing import CliRunner

    from vswap_concepts.training.commands import add_commands

    app = typer.Typer()
    app.callback()(lambda: None)
    add_commands(app)
    given = {"name": NAME, "class": "car", "backbone": "sd15", "weights": str(model), "steps": "2", "batch": "2"}
    given |= {"size": "64", "sample-steps": "1", "out": str(folder / "toy.safetensors")} | options
    arguments = ["concept", "train", str(folder / "pictures"), *more]
    for option, value in given.items():
        arguments += [f"--{option}", value]
    return CliRunner().invoke(app, arguments)


def test_files_become_a_concept_samples_and_a_page(folder: Path, model: Path) -> None:
    from vswap_concepts.ed_lora_file import read_ed_lora

    masks, prior = str(folder / "masks"), str(folder / "prior")
    ran = run(folder, model, "--json", masks=masks, prior=prior, **{"prior-every": "2"})
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["steps"] == 2
    assert told["loss"] > 0
    lora = read_ed_lora(Path(told["concept"]))
    assert {word: tuple(vectors.shape) for word, vectors in lora.embeddings.items()} == {
        "<toyA1>": (16, 16),
        "<toyA2>": (16, 16),
    }
    assert len(lora.unet) == 16 * 8
    assert all(name.startswith("text_model.encoder.layers.") for name in lora.text_encoder)
    assert (folder / "toy.samples.png").stat().st_size > 1000
    page = (folder / "toy.html").read_text()
    assert "loss over 2 steps" in page
    assert "&lt;toyA1&gt; &lt;toyA2&gt;" in page
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "toy.safetensors",
        "toy.samples.png",
        "toy.html",
    }


def test_the_backbone_may_come_from_a_config_and_the_result_be_the_references_file(folder: Path, model: Path) -> None:
    from vswap_concepts.ed_lora_file import read_ed_lora

    config = folder / "job.yaml"
    (folder / "model").symlink_to(model)
    config.write_text(yaml.safe_dump({"backbone": {"name": "sd15", "weights": "model"}, "seed": 3}))
    out = folder / "toy.pth"
    from vswap_concepts.training.choice import choose_backbone
    from vswap_kernel.registry import Registry

    assert choose_backbone(str(config), None, Registry.discover()).options.weights == model
    assert run(folder, model, backbone=str(config), out=str(out)).exit_code == 0
    assert set(read_ed_lora(out).embeddings) == {"<toyA1>", "<toyA2>"}


def small_mask(folder: Path) -> None:
    write_png(folder / "masks" / "1.png", np.full((70, 96), 255, np.uint8))


def black_mask(folder: Path) -> None:
    write_png(folder / "masks" / "1.png", np.zeros((72, 96), np.uint8))


def no_pictures(folder: Path) -> None:
    for path in (folder / "pictures").iterdir():
        path.unlink()


def no_picture_in_it(folder: Path) -> None:
    (folder / "pictures" / "1.png").write_text("not a picture")


def caption(text: str, of: str = "pictures") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / of / "1.txt").write_text(text)

    return write


def nothing(folder: Path) -> None:
    pass


CASES: list[tuple[Callable[[Path], Any], dict[str, str], str]] = [
    (nothing, {"name": "toyA1"}, "expected words in <>"),
    (nothing, {"name": "<a> <a>"}, "the same word twice"),
    (nothing, {"name": "<a b>"}, "expected words in <>"),
    (nothing, {"class": " "}, "expected a word that the model knows"),
    (nothing, {"caption": "a photo of a boat"}, "--caption: no place for the subject in 'a photo of a boat'"),
    (nothing, {"backbone": "sd51"}, "unknown backbone 'sd51'; did you mean 'sd15'"),
    (nothing, {"backbone": "absent.yaml"}, "absent.yaml: not a config that can be read"),
    (nothing, {"out": "toy.ckpt"}, "--out toy.ckpt: expected a name in .safetensors"),
    (nothing, {"dtype": "int8"}, "--dtype int8"),
    (nothing, {"device": "cuda:x"}, "--device cuda:x"),
    (nothing, {"device": "cuda:99"}, "--device cuda:99: there is none here"),
    (nothing, {"masks": "absent"}, "absent: no such file or folder"),
    (no_pictures, {}, "no pictures there"),
    (no_picture_in_it, {}, "1.png: can't be read as a picture"),
    (caption("a red boat"), {}, "1.txt: no place for the subject in 'a red boat'"),
    (caption(""), {}, "1.txt: empty"),
    (caption("a <toyA1>", "prior"), {"prior": "prior"}, "names the subject"),
    (small_mask, {"masks": "masks"}, "1.png: 96x70 for a picture of 96x72; the mask must have its size"),
    (black_mask, {"masks": "masks"}, "1.png: nothing is white in it"),
    (lambda f: (f / "masks" / "1.png").unlink(), {"masks": "masks"}, "no mask for 1.png"),
]


@pytest.mark.parametrize(("spoil", "options", "message"), CASES, ids=[message for *_, message in CASES])
def test_wrong_input_is_told_before_the_model_is_loaded(
    folder: Path, spoil: Callable[[Path], Any], options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vswap_backbones import sd15

    monkeypatch.setattr(sd15, "load", lambda *_: pytest.fail("loaded"))
    monkeypatch.chdir(folder)
    spoil(folder)
    ran = run(folder, folder, **options)
    assert isinstance(ran.exception, VswapError), ran.output
    assert message in str(ran.exception)
    assert "\n" not in str(ran.exception)


def test_wrong_input_that_only_the_model_tells(folder: Path, model: Path) -> None:
    for options, message in (
        ({"size": "100"}, "--size 100: this model needs a multiple of 64"),
        ({"class": "車", "caption": "a {}"}, "the model's tokenizer doesn't know it"),
        ({"caption": "a long road " * 10 + "{}"}, "the subject's name is cut off"),
    ):
        ran = run(folder, model, **options)
        assert isinstance(ran.exception, InputError), ran.output
        assert message in str(ran.exception)


def test_an_error_is_one_line_and_exit_code_2(folder: Path) -> None:
    command = [sys.executable, "-m", "vswap_kernel.cli", "concept", "train", "pictures", "--name", "toy"]
    command += ["--class", "car", "--backbone", "sd15"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "--name" in ran.stderr


def test_captions_have_the_name_in_place_of_the_class_word(folder: Path) -> None:
    from vswap_concepts.training.captions import prior_captions, subject_captions, templates
    from vswap_concepts.training.settings import Subject

    subject = Subject.parse(NAME, "car")
    picture = folder / "pictures" / "1.png"
    assert templates(["a {} on grass", "the car here"], subject) == (f"a {NAME} on grass", f"the {NAME} here")
    assert subject_captions(picture, subject, ("usual",)) == ("usual",)
    for text in ("A Car on\na carpet", f"a {NAME}"):
        picture.with_suffix(".txt").write_text(text)
        assert subject_captions(picture, subject, ()) == (text.replace("\n", " ").replace("Car", NAME, 1),)
    assert prior_captions(folder / "prior" / "1.png", subject) == ("a photo of a car",)


def test_the_square_cut_out_of_a_picture_holds_the_subject(folder: Path) -> None:
    from vswap_concepts.training.pictures import read_subject
    from vswap_concepts.training.settings import Subject

    mask = np.zeros((72, 96), np.uint8)
    mask[20:50, 60:90] = 255
    write_png(folder / "masks" / "1.png", mask)
    (picture,) = read_subject([folder / "pictures" / "1.png"], folder / "masks", Subject.parse(NAME, "car"), ("a",), 36)
    assert picture.rgb.shape == (36, 36, 3)
    assert picture.mask is not None
    columns = np.flatnonzero(picture.mask.max(0) > 127)
    assert (columns[0], columns[-1]) == (
        18,
        32,
    )  # 30 to 44 of the 48 that the scaled picture has; the last 36 are taken
