from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_kernel.errors import InputError
from vswap_kernel.types import Masks, Video
from vswap_swappers.clean_plate import build_clean_plate, grid
from vswap_swappers.patch_fill import fill_by_patches
from vswap_swappers.push_pull import diffuse
from vswap_swappers.register import WarpOptions
from vswap_swappers.seam import join
from vswap_toybox.clip import clip

WIDTH, HEIGHT = 160, 112


@dataclass(frozen=True)
class Scene:
    """background and frames uint8 [T, H, W, 3], masks uint8 [T, H, W]."""

    background: NDArray[np.uint8]
    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    def plate(self, out: Path, **options: object) -> NDArray[np.uint8]:
        made = build_clean_plate(Video(self.frames, 25.0), Masks(self.masks), out, WarpOptions(**options), silent)
        assert made.frames.shape == self.frames.shape
        assert made.fps == 25.0
        np.testing.assert_array_equal(made.frames[self.masks == 0], self.frames[self.masks == 0])
        return np.array(made.frames)


def silent(*_: object) -> None:
    pass


def texture(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, None, 2.0) + cv2.GaussianBlur(noise, None, 9.0) * 4
    return cv2.normalize(smooth, None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8)


def scene(count: int, *, pan: float = 0.0, zoom: float = 0.0, speed: float = 4.0, seed: int = 0) -> Scene:
    """A red ellipse crossing a textured ground, under a camera that pans (px a frame) and zooms (share a frame)."""
    world = texture(seed, 420, 300)
    background, frames, masks = [], [], []
    for index in range(count):
        scale = 1 + zoom * index
        camera = np.array([[scale, 0, -40 - pan * index], [0, scale, -60]])
        ground = cv2.warpAffine(world, camera, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.ellipse(mask, (int(40 + speed * index), 60), (14, 24), 0, 0, 360, 255, -1)
        frame = ground.copy()
        frame[mask > 0] = (220, 30, 20)
        background.append(ground)
        frames.append(frame)
        masks.append(cv2.dilate(mask, np.ones((5, 5), np.uint8)))
    return Scene(np.stack(background), np.stack(frames), np.stack(masks))


def psnr_inside(plate: NDArray[np.uint8], truth: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    error = ((plate.astype(np.float64) - truth) ** 2)[where].mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_a_static_camera_and_a_moving_subject_give_the_exact_background(tmp_path: Path) -> None:
    made = scene(24)
    np.testing.assert_array_equal(made.plate(tmp_path), made.background)


@pytest.mark.parametrize(("pan", "zoom", "least"), [(2.3, 0.0, 36.0), (1.5, 0.004, 36.0)])
def test_a_moving_camera_is_followed(tmp_path: Path, pan: float, zoom: float, least: float) -> None:
    made = scene(24, pan=pan, zoom=zoom)
    assert psnr_inside(made.plate(tmp_path), made.background, made.masks > 0) > least


def test_a_change_of_exposure_is_matched(tmp_path: Path) -> None:
    made = scene(20, pan=1.0)
    gain = np.linspace(0.85, 1.1, 20)[:, None, None, None]
    darker = Scene(
        *(np.clip(part * gain, 0, 255).astype(np.uint8) for part in (made.background, made.frames)), made.masks
    )
    assert psnr_inside(darker.plate(tmp_path), darker.background, made.masks > 0) > 34


def test_the_shadow_below_the_subject_is_not_taken_for_background(tmp_path: Path) -> None:
    ground = texture(4, WIDTH, HEIGHT)
    frames, masks = np.repeat(ground[None], 12, axis=0), np.zeros((12, HEIGHT, WIDTH), np.uint8)
    for index in range(12):
        top = 4 + 5 * index
        frames[index, top : top + 32, 60:90] = (220, 30, 20)
        frames[index, top + 32 : top + 40, 60:90] //= 3
        masks[index, top : top + 32, 60:90] = 255
    falling = Scene(np.repeat(ground[None], 12, axis=0), frames, masks)
    found = [psnr_inside(falling.plate(tmp_path, shadow=share), falling.background, masks > 0) for share in (0.0, 0.3)]
    assert found[0] < 18
    assert found[1] > 23


def test_what_no_frame_shows_is_made_up_plausibly_and_stays_steady(tmp_path: Path) -> None:
    made = scene(12, speed=0.4)
    plate = made.plate(tmp_path)
    hidden = (made.masks > 0).all(axis=0)
    assert hidden.sum() > 500
    core = plate[:, hidden].astype(np.float64)
    assert np.abs(np.diff(core, axis=0)).mean() < 1.0
    red = (core[..., 0] > 180) & (core[..., 1] < 60)
    assert not red.any()
    ground = made.background[0][~hidden].astype(np.float64)
    np.testing.assert_allclose(core.mean(axis=(0, 1)), ground.mean(axis=0), atol=25)
    assert core[0].std() > 0.4 * ground.std()


def test_one_frame_is_filled_from_itself(tmp_path: Path) -> None:
    made = scene(1)
    plate = made.plate(tmp_path)
    inside = plate[made.masks > 0].astype(np.float64)
    assert not ((inside[:, 0] > 180) & (inside[:, 1] < 60)).any()


def test_two_frames_show_each_other_s_background(tmp_path: Path) -> None:
    made = scene(2, speed=45.0)
    np.testing.assert_array_equal(made.plate(tmp_path), made.background)


def test_empty_masks_return_the_source(tmp_path: Path) -> None:
    made = scene(3)
    np.testing.assert_array_equal(Scene(made.background, made.frames, made.masks * 0).plate(tmp_path), made.frames)


def test_soft_mask_values_count_as_subject(tmp_path: Path) -> None:
    made = scene(24)
    soft = Scene(made.background, made.frames, np.minimum(made.masks, 1))
    np.testing.assert_array_equal(soft.plate(tmp_path), made.background)


def test_a_mask_over_a_whole_frame_is_refused_in_one_line(tmp_path: Path) -> None:
    made = scene(4)
    made.masks[2] = 255
    with pytest.raises(InputError, match="covers all of frame 2") as caught:
        made.plate(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    made = scene(3)
    with pytest.raises(InputError, match="for a video of"):
        build_clean_plate(Video(made.frames, 25.0), Masks(made.masks[:2]), tmp_path, WarpOptions(), silent)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    made = scene(10, pan=1.7, speed=1.0)
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        made.plate(folder)
    first, second = ((folder / "plate.safetensors").read_bytes() for folder in folders)
    assert first == second


def test_progress_is_told(tmp_path: Path) -> None:
    made, told = scene(24), []
    progress = lambda done, total, note="": told.append((done, total, note))  # noqa: E731
    build_clean_plate(Video(made.frames, 25.0), Masks(made.masks), tmp_path, WarpOptions(), progress)
    assert {note for _, _, note in told} == {"camera motion", "clean plate"}
    assert told[-1][:2] == (24, 24)


def test_a_toybox_clip_loses_its_subject(tmp_path: Path) -> None:
    case = clip(3, frames=24)
    mask = np.stack([cv2.dilate(frame, np.ones((7, 7), np.uint8)) for frame in case.masks.frames])
    video = case.video
    plate = build_clean_plate(video, Masks(mask), tmp_path, WarpOptions(), silent)
    truth = case.background().frames
    before = psnr_inside(video.frames, truth, mask > 0)
    assert psnr_inside(plate.frames, truth, mask > 0) > max(24, before + 6)


def test_the_grid_reaches_both_ends_and_keeps_within_reach() -> None:
    assert list(grid(6, -1, 100, 40)) == [4, 2, 0]
    assert list(grid(7, 1, 100, 40)) == [8, 10, 12, 14, 16, 20, 24, 32, 40]
    assert list(grid(6, 1, 8, 40)) == [7]
    assert list(grid(0, 1, 1, 40)) == []


def test_diffusion_is_exact_on_a_constant_and_between_the_known_elsewhere() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.uniform(size=(45, 61)) < 0.05).astype(np.float32)
    constant = np.full((45, 61, 2), 7.5, np.float32)
    np.testing.assert_allclose(diffuse(constant, weight), constant, rtol=1e-4)
    values = rng.uniform(10, 20, (45, 61, 2)).astype(np.float32)
    filled = diffuse(values, weight)
    np.testing.assert_allclose(filled[weight > 0], values[weight > 0], rtol=1e-5)
    assert (filled > 9.99).all()
    assert (filled < 20.01).all()
    assert not diffuse(values, weight * 0).any()


def test_a_constant_difference_at_the_seam_is_taken_out_of_the_whole_fill() -> None:
    target = texture(1, 64, 64).astype(np.float32)
    where = np.zeros((64, 64), bool)
    where[20:44, 20:44] = True
    joined = join(np.where(where[..., None], 0, target), target + 12, where, ~where)
    np.testing.assert_allclose(joined, target, atol=2.0)


def test_a_periodic_texture_is_continued_over_a_hole() -> None:
    y, x = np.mgrid[:96, :128]
    stripes = np.repeat(np.where((x // 8) % 2 == 0, 200, 60)[..., None], 3, axis=2).astype(np.uint8)
    hole = np.hypot(x - 64, y - 48) < 18
    broken = np.where(hole[..., None], 0, stripes).astype(np.uint8)
    filled = fill_by_patches(broken, hole, avoid=np.zeros_like(hole))
    np.testing.assert_array_equal(filled[~hole], stripes[~hole])
    assert np.abs(filled[hole].astype(float) - stripes[hole]).mean() < 12


def test_a_hole_that_leaves_nothing_to_copy_is_filled_smoothly() -> None:
    image = texture(2, 20, 20)
    hole = np.ones((20, 20), bool)
    hole[:2] = False
    filled = fill_by_patches(image, hole, avoid=np.zeros_like(hole))
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    assert filled.std() < image.std()
