import sys
from pathlib import Path

import numpy as np
import pytest

from small_network import write_mean
from vswap_kernel.errors import InputError, MissingExtraError

pytest.importorskip("cv2")

from vswap_salience.model import SalienceModel, check_model


def black_red_white() -> np.ndarray:
    """uint8 [4, 6, 3] in three upright bars."""
    return np.repeat(np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], np.uint8), 2, axis=1).repeat(4, axis=0)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return write_mean(tmp_path / "mean.onnx")


@pytest.mark.parametrize(
    ("normalisation", "red"),
    # the mean of (colour - mean) / deviation, stretched so that black is 0 and white is 1
    [("imagenet", (1 / 0.229) / (1 / 0.229 + 1 / 0.224 + 1 / 0.225)), ("isnet", 1 / 3)],
)
def test_colours_are_normalised_as_the_model_was_trained(network: Path, normalisation: str, red: float) -> None:
    likely = SalienceModel(network, normalisation).likelihood(black_red_white())
    np.testing.assert_allclose(likely[0], [0, 0, red, red, 1, 1], atol=1e-5)


def test_a_dark_picture_is_stretched_as_a_light_one(network: Path) -> None:
    dark = SalienceModel(network).likelihood(black_red_white() // 5)
    np.testing.assert_allclose(dark, SalienceModel(network).likelihood(black_red_white()), atol=1e-5)


def test_the_answer_has_the_picture_s_size_whatever_the_model_s(network: Path) -> None:
    picture = black_red_white().repeat(10, axis=0).repeat(7, axis=1)
    likely = SalienceModel(network).likelihood(picture)
    assert likely.shape == (40, 42)
    assert likely[20, 0] < 0.05
    assert likely[20, -1] > 0.95


def test_open_axes_are_given_the_usual_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    open_sides = write_mean(tmp_path / "open.onnx", ("batch", 3, "height", "width"), None)
    check_model(open_sides)
    assert SalienceModel(open_sides).likelihood(black_red_white()).shape == (4, 6)


@pytest.mark.parametrize("opened", [SalienceModel, check_model])
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, opened) -> None:
    pytest.importorskip("onnxruntime")
    wrong = tmp_path / "model.onnx"
    wrong.write_text("no model")
    with pytest.raises(InputError, match=r"model\.onnx: not a usable ONNX model") as raised:
        opened(wrong)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("opened", [SalienceModel, check_model])
def test_a_model_for_something_else_is_refused_before_it_runs(tmp_path: Path, opened) -> None:
    pytest.importorskip("onnxruntime")
    grey = write_mean(tmp_path / "grey.onnx", (1, 1, 4, 6))
    with pytest.raises(InputError, match=r"expected one input \[1, 3, H, W\], got \[1, 1, 4, 6\]; use a U\^2-Net"):
        opened(grey)
    flat = write_mean(tmp_path / "flat.onnx", answer=(1, 4, 6), keep_axis=False)
    with pytest.raises(InputError, match=r"answers \[1, 4, 6\], expected \[1, 1, H, W\]; use a U\^2-Net"):
        opened(flat)


def test_an_answer_that_the_file_did_not_declare_is_refused_when_it_comes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = SalienceModel(write_mean(tmp_path / "open.onnx", ("n", "c", "h", "w"), None, axis=0))
    with pytest.raises(InputError, match=r"answers \[1, 3, 320, 320\], expected"):
        model.likelihood(black_red_white())


@pytest.mark.parametrize("opened", [SalienceModel, check_model])
def test_without_onnxruntime_the_user_reads_what_to_install(tmp_path: Path, monkeypatch, opened) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"u2netp\.onnx.*pip install 'vswap\[onnx\]'"):
        opened(tmp_path / "u2netp.onnx")
