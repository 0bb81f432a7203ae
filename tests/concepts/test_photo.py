"""The concept `photo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from small_network import write_mean
from vswap_concepts.matte import decontaminated, largest_component
from vswap_concepts.photo import Photo, preflight
from vswap_concepts.register import PhotoOptions
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError, MissingExtraError

FACTS = Facts(frames=10, size=(428, 240), point_names=("nose", "tail", "left_wheel"))


def write_points(folder: Path, points: dict[str, list[float]], size: tuple[int, int] | None = None) -> Path:
    path = folder / "photo.points.json"
    path.write_text(json.dumps({"points": points} | ({"size": size} if size else {})))
    return path


def disc(side: int = 64, radius: int = 20) -> np.ndarray:
    return cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), radius, 255, -1)


def write_picture(folder: Path, alpha: np.ndarray | None = None, colour: tuple[int, int, int] = (10, 20, 220)) -> Path:
    """A disc of `colour` (BGR) on green, with `alpha` or none."""
    path = folder / "photo.png"
    inside = disc() > 0
    bgr = np.where(inside[..., None], np.array(colour, np.uint8), np.array([0, 255, 0], np.uint8))
    cv2.imwrite(str(path), bgr if alpha is None else np.dstack([bgr, alpha]))
    return path


def photo(image: Path, points: Path, folder: Path, **options) -> Photo:
    return Photo(PhotoOptions(image=image, points=points, **options), Context(folder))


def test_the_transparency_of_a_picture_is_its_cutout(tmp_path):
    points = write_points(tmp_path, {"nose": [40, 30], "tail": [20, 30]})
    cutout = photo(write_picture(tmp_path, disc()), points, tmp_path).cutout()
    assert cutout.names == ("nose", "tail")
    np.testing.assert_array_equal(cutout.xy, [[40, 30], [20, 30]])
    np.testing.assert_array_equal(cutout.rgba[..., 3], disc())
    assert cutout.rgba[32, 32, :3].tolist() == [220, 20, 10]


def test_a_mask_cuts_out_a_picture_that_has_no_transparency(tmp_path):
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), disc())
    points = write_points(tmp_path, {"nose": [40, 30]})
    cutout = photo(write_picture(tmp_path), points, tmp_path, mask=mask).cutout()
    np.testing.assert_array_equal(cutout.rgba[..., 3], disc())


def test_points_set_on_another_size_of_the_picture_are_scaled(tmp_path):
    points = write_points(tmp_path, {"nose": [80.5, 60.5]}, size=(128, 128))
    cutout = photo(write_picture(tmp_path, disc()), points, tmp_path).cutout()
    np.testing.assert_allclose(cutout.xy, [[40, 30]])


def test_no_background_is_left_in_the_colours_of_the_edge(tmp_path):
    soft = cv2.GaussianBlur(disc(radius=22), (0, 0), 1.5)
    points = write_points(tmp_path, {"nose": [40, 30]})
    rgba = photo(write_picture(tmp_path, soft), points, tmp_path).cutout().rgba
    edge = (rgba[..., 3] > 0) & (rgba[..., 3] < 255)
    assert edge.sum() > 100
    assert rgba[edge][:, 1].max() < 60


def test_thin_parts_keep_their_colour():
    alpha = disc(256, 60)
    alpha[20:68, 127:130] = 255
    rgb = np.full((256, 256, 3), (200, 0, 0), np.uint8)
    rgb[20:60, 120:140] = (0, 0, 200)
    assert decontaminated(rgb, alpha)[30, 128].tolist() == [0, 0, 200]


def test_only_the_largest_piece_is_kept_with_its_soft_edge():
    alpha = cv2.GaussianBlur(disc(), (0, 0), 1.0)
    with_speck = alpha.copy()
    with_speck[2:6, 2:6] = 255
    np.testing.assert_array_equal(largest_component(with_speck), alpha)


def test_a_picture_without_any_way_to_cut_it_out_names_the_three(tmp_path):
    points = write_points(tmp_path, {"nose": [40, 30]})
    options = PhotoOptions(image=write_picture(tmp_path), points=points)
    for attempt in (lambda: preflight(options, FACTS), Photo(options, Context(tmp_path)).cutout):
        with pytest.raises(InputError, match=r"PNG with alpha.*mask: FILE\.png.*model: u2netp\.onnx"):
            attempt()


def test_a_point_outside_the_picture_is_named(tmp_path):
    points = write_points(tmp_path, {"nose": [40, 30], "tail": [90, 30]})
    options = PhotoOptions(image=write_picture(tmp_path, disc()), points=points)
    with pytest.raises(InputError, match=r"'tail' at \(90\.0, 30\.0\) is outside the 64x64 picture"):
        preflight(options, FACTS)


def test_points_without_a_common_name_are_listed_with_the_nearest(tmp_path):
    points = write_points(tmp_path, {"noze": [40, 30]})
    options = PhotoOptions(image=write_picture(tmp_path, disc()), points=points)
    with pytest.raises(InputError, match=r"here noze; in the video nose, tail, left_wheel.*did you mean 'nose'"):
        preflight(options, FACTS)


@pytest.mark.parametrize("name", ["tial", "Tail", "lefft_wheel"])
def test_a_name_that_is_nearly_one_of_the_video_is_a_slip(tmp_path, name):
    points = write_points(tmp_path, {"nose": [40, 30], name: [20, 30]})
    with pytest.raises(InputError, match=f"point '{name}' is not in the video, but '(tail|left_wheel)' is"):
        preflight(PhotoOptions(image=write_picture(tmp_path, disc()), points=points), FACTS)


@pytest.mark.parametrize("name", ["right_wheel", "left_wheel_2", "top"])
def test_another_point_of_the_picture_is_no_slip(tmp_path, name):
    points = write_points(tmp_path, {"nose": [40, 30], name: [20, 30]})
    preflight(PhotoOptions(image=write_picture(tmp_path, disc()), points=points), FACTS)


def test_one_common_name_is_enough(tmp_path):
    points = write_points(tmp_path, {"nose": [40, 30], "other": [20, 30]})
    preflight(PhotoOptions(image=write_picture(tmp_path, disc()), points=points), FACTS)


def test_a_mask_of_another_size_is_refused(tmp_path):
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), disc(32, 8))
    points = write_points(tmp_path, {"nose": [40, 30]})
    with pytest.raises(InputError, match="32x32 for a picture of 64x64"):
        photo(write_picture(tmp_path), points, tmp_path, mask=mask).cutout()


def test_an_empty_cutout_is_refused(tmp_path):
    points = write_points(tmp_path, {"nose": [40, 30]})
    with pytest.raises(InputError, match="no subject left"):
        photo(write_picture(tmp_path, np.zeros((64, 64), np.uint8)), points, tmp_path).cutout()


def test_what_is_no_model_is_refused_while_planning(tmp_path):
    pytest.importorskip("onnxruntime")
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"not a model")
    image, points = write_picture(tmp_path), write_points(tmp_path, {"nose": [40, 30]})
    with pytest.raises(InputError, match=r"broken\.onnx: not a usable ONNX model"):
        preflight(PhotoOptions(image=image, points=points, model=model), FACTS)
    preflight(PhotoOptions(image=image, points=points, model=write_mean(tmp_path / "mean.onnx")), FACTS)


def test_without_onnxruntime_a_model_is_refused_while_planning(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    options = {"image": write_picture(tmp_path), "points": write_points(tmp_path, {"nose": [40, 30]})}
    options["model"] = tmp_path / "u2netp.onnx"
    options["model"].touch()
    with pytest.raises(MissingExtraError, match=r"pip install 'vswap\[onnx\]'"):
        preflight(PhotoOptions(**options), FACTS)
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), disc())
    preflight(PhotoOptions(**options, mask=mask), FACTS)


def test_a_smeared_edge_of_a_model_s_answer_is_made_steep_and_drawn_in(tmp_path):
    pytest.importorskip("onnxruntime")
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8)
    image = tmp_path / "ramp.png"
    cv2.imwrite(str(image), np.broadcast_to(ramp[None, :, None], (64, 64, 3)).copy())
    points = write_points(tmp_path, {"nose": [60, 30]})
    model = write_mean(tmp_path / "mean.onnx", (1, 3, 64, 64), (1, 1, 64, 64))
    alpha = photo(image, points, tmp_path, model=model).cutout().rgba[32, :, 3]
    assert (alpha[ramp <= 127] == 0).all()
    assert (alpha[ramp >= 230] == 255).all()
    middle = (ramp > 128) & (ramp < 229)
    np.testing.assert_allclose(alpha[middle], (ramp[middle] / 255 - 0.5) / 0.4 * 255, atol=3)


def test_u2net_cuts_a_real_duck_out(shared, tmp_path):
    pytest.importorskip("onnxruntime")
    points = write_points(tmp_path, {"beak": [349, 250], "breast": [345, 330]})
    options = {"model": shared / "weights" / "u2netp.onnx"}
    rgba = photo(shared / "concepts" / "duck_toy" / "03.jpg", points, tmp_path, **options).cutout().rgba
    solid = rgba[..., 3] > 200
    assert solid[300, 300]
    assert not solid[50, 50]
    assert 0.05 < solid.mean() < 0.2
    assert rgba[solid][:, 0].mean() > 2 * rgba[solid][:, 2].mean()  # yellow
