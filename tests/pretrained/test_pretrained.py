"""Folders of networks: what is refused, and how pictures are made ready for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vswap_kernel.errors import InputError, MissingExtraError
from vswap_pretrained.models import load_model
from vswap_pretrained.pictures import Normalisation

KINDS = {"dinov2": "Dinov2Model"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4)
    Dinov2Model(config).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, keep: float) -> None:
    """Leave the first weights of the file only."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = sorted(load_file(path).items())
    save_file(dict(weights[: int(len(weights) * keep)]), path, {"format": "pt"})


def test_a_whole_folder_is_loaded_frozen_and_nothing_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(folder, None, KINDS, "x.weights")
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_lacks_weights_is_refused_instead_of_filled_at_random(folder: Path) -> None:
    rewrite(folder, 0.5)
    with pytest.raises(InputError, match=r"x\.weights: .* lacks \d+ weights, the first") as refused:
        load_model(folder, None, KINDS, "x.weights")
    assert "\n" not in str(refused.value)


def test_a_damaged_file_is_refused_in_one_line(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match=r"x\.weights: .* can't be read") as refused:
        load_model(folder, None, KINDS, "x.weights")
    assert "\n" not in str(refused.value)


def test_a_class_that_the_installed_version_lacks_is_named(folder: Path) -> None:
    with pytest.raises(MissingExtraError, match="has no Dinov9Model; run: pip install -U transformers"):
        load_model(folder, None, {"dinov2": "Dinov9Model"}, "x.weights")


def test_a_name_that_the_hub_can_not_give_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"x\.weights: nobody/nothing can't be read") as refused:
        load_model("nobody/nothing", None, KINDS, "x.weights")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "nested"),
    [("preprocessor_config.json", None), ("processor_config.json", "image_processor")],
)
def test_the_colour_statistics_are_the_models_own_where_it_says_them(
    name: str, nested: str | None, tmp_path: Path
) -> None:
    assert Normalisation.read(tmp_path, None, "x") == Normalisation()
    said = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (tmp_path / name).write_text(json.dumps({nested: said} if nested else said))
    assert Normalisation.read(tmp_path, None, "x") == Normalisation((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    (tmp_path / name).write_text(json.dumps(said | {"image_std": [1]}))
    with pytest.raises(InputError, match=r"x: .*image_mean and image_std can't be read"):
        Normalisation.read(tmp_path, None, "x")


def test_pixels_are_normalised_after_the_frame_is_stretched() -> None:
    frame = np.zeros((1, 10, 20, 3), np.uint8)
    frame[..., 0], frame[..., 2] = 255, 51
    pixels = Normalisation((0.5, 0.0, 0.2), (0.5, 1.0, 0.1)).pixels(frame, (4, 6), "bicubic", "cpu")
    assert pixels.shape == (1, 3, 4, 6)
    expected = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 4, 6)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)
