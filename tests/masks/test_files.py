from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from numpy.typing import NDArray

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import Masks, PointQueries, Video

cv2 = pytest.importorskip("cv2")

from vswap_masks.files import Files, preflight
from vswap_masks.register import FilesOptions

NO_POINTS = PointQueries((), np.zeros(0, np.int32), np.zeros((0, 2), np.float32))


def discs(frames: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A disc that moves by two pixels a frame: uint8 [T, H, W]."""
    down, across = np.mgrid[: size[1], : size[0]]
    centres = 12 + 2 * np.arange(frames)[:, None, None]
    return (np.hypot(across - centres, down - 20) < 8).astype(np.uint8) * 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "masks"
    made.mkdir()
    for number, mask in enumerate(discs(12)):
        cv2.imwrite(str(made / f"{number}.png"), mask)
    return made


def video(frames: int, size: tuple[int, int] = (64, 48)) -> Video:
    return Video(np.zeros((frames, size[1], size[0], 3), np.uint8), 25.0)


def segment(tmp_path: Path, of: Video, **options: object) -> Masks:
    scratch = Path(mkdtemp(dir=tmp_path))
    chosen = FilesOptions.model_validate({"grow": 0, "feather": 0} | options)
    return Files(chosen, Context(scratch)).segment(of, NO_POINTS)


def test_masks_come_back_as_they_are_and_in_natural_order(folder: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(segment(tmp_path, video(12), path=folder).frames, discs(12))


def test_masks_of_the_whole_source_are_picked_for_the_edited_range(folder: Path, tmp_path: Path) -> None:
    excerpt = replace(video(3), first=2, step=4, source_frames=12)
    np.testing.assert_array_equal(segment(tmp_path, excerpt, path=folder).frames, discs(12)[2::4])


def test_another_number_of_masks_is_refused_with_the_numbers_that_fit(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has 12 frames; give 5, one for each edited frame, or 20, one for each"):
        segment(tmp_path, replace(video(5), first=2, source_frames=20), path=folder)


def test_masks_of_another_scale_are_resized(folder: Path, tmp_path: Path) -> None:
    found = segment(tmp_path, video(12, (128, 96)), path=folder)
    assert found.frames.shape == (12, 96, 128)
    expected = np.array([cv2.resize(mask, (128, 96), interpolation=cv2.INTER_NEAREST) for mask in discs(12)]) > 0
    wrong = (found.frames > 0) != expected
    assert wrong.mean() < 0.005


def test_masks_of_another_aspect_are_refused_with_both_sizes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the masks are 64x48, the video is 48x64: another aspect"):
        segment(tmp_path, video(12, (48, 64)), path=folder)


@pytest.mark.parametrize(
    ("facts", "message"),
    [(Facts(11, (64, 48), ()), "it has 12 frames; give 11"), (Facts(12, (100, 48), ()), "another aspect")],
)
def test_preflight_refuses_what_segment_would(folder: Path, facts: Facts, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preflight(FilesOptions(path=folder), facts)


def test_preflight_accepts_what_fits(folder: Path) -> None:
    preflight(FilesOptions(path=folder), Facts(12, (128, 96), ("nose",)))
    preflight(FilesOptions(path=folder), Facts(2, (64, 48), (), first=4, step=4, source_frames=12))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        preflight(FilesOptions(path=tmp_path), Facts(1, (64, 48), ()))


def test_growing_makes_the_subject_wider_by_that_many_pixels(folder: Path, tmp_path: Path) -> None:
    down, across = np.mgrid[:48, :64]
    grown = segment(tmp_path, video(12), path=folder, grow=5).frames
    near = np.stack([np.hypot(across - (12 + 2 * t), down - 20) for t in range(12)])
    assert (grown[near < 12] == 255).all()
    assert not grown[near > 14].any()


def test_feathering_fades_outside_and_leaves_the_subject_whole(folder: Path, tmp_path: Path) -> None:
    soft = segment(tmp_path, video(12), path=folder, grow=2, feather=4).frames
    hard = segment(tmp_path, video(12), path=folder, grow=2).frames
    assert (soft[hard > 0] == 255).all()
    row = soft[3, 20, 18:40].astype(int)
    assert (np.diff(row) <= 0).all()
    assert len(set(row.tolist()) - {0, 255}) >= 3


def test_an_empty_mask_stays_empty(tmp_path: Path) -> None:
    made = tmp_path / "empty"
    made.mkdir()
    cv2.imwrite(str(made / "0.png"), np.zeros((48, 64), np.uint8))
    assert not segment(tmp_path, video(1), path=made, grow=9, feather=3).frames.any()
