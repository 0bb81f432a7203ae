"""The swapper `warp`, on small painted scenes with known answers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import SwapJob
from vswap_kernel.types import Cutout, Masks, PointTracks, Video
from vswap_swappers.register import WarpOptions
from vswap_swappers.warp import Warp

WIDTH, HEIGHT, FRAMES = 128, 80, 20
BOX = np.array([[0, 0], [40, 0], [40, 30], [0, 30]], np.float64)  # corners of the old subject


class Picture:
    def __init__(self, cutout: Cutout) -> None:
        self._cutout = cutout

    def cutout(self) -> Cutout:
        return self._cutout


def background() -> np.ndarray:
    noise = np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def scene(post: bool = False, frames: int = FRAMES) -> SwapJob:
    """A blue box moves right by 2 pixels a frame over a textured ground; a green post may stand in front of it."""
    ground = background()
    video, masks = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8), np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    xy, visible = np.empty((frames, 4, 2), np.float32), np.ones((frames, 4), bool)
    for frame in range(frames):
        left = 10 + 2 * frame
        picture = ground.copy()
        picture[24:55, left : left + 41] = (30, 60, 200)
        masks[frame, 24:55, left : left + 41] = 255
        xy[frame] = BOX + np.array([left, 24])
        if post:
            picture[:, 60:70] = (40, 220, 40)
            masks[frame, :, 60:70] = 0
            visible[frame] = (xy[frame, :, 0] < 60) | (xy[frame, :, 0] > 69)
        video[frame] = picture
    tracks = PointTracks(("a", "b", "c", "d"), xy, visible, np.ones((frames, 4), np.float32), (WIDTH, HEIGHT))
    return SwapJob(Video(video, 24.0), tracks, tracks, masks=Masks(masks))


def red_box(names: tuple[str, ...] = ("a", "b", "c", "d"), xy: np.ndarray | None = None) -> Picture:
    """A red box twice the size of the old subject."""
    rgba = np.zeros((80, 100, 4), np.uint8)
    rgba[10:71, 8:89] = (200, 20, 20, 255)
    points = (2 * BOX + [8, 10]).astype(np.float32) if xy is None else xy
    return Picture(Cutout(rgba, names, points))


@pytest.fixture(scope="module")
def swap(tmp_path_factory):
    """Prepares a scene once, however often it is swapped."""
    plates: dict[str, Path] = {}

    def run(job: SwapJob, folder: Path, picture: Picture, **options):
        folder.mkdir(parents=True, exist_ok=True)
        swapper = Warp(WarpOptions(**options), Context(folder))
        scene_key = job.video.digest() + job.masks.digest()
        if scene_key not in plates:
            plates[scene_key] = tmp_path_factory.mktemp("plate")
            swapper.prepare(job, plates[scene_key])
        full = SwapJob(job.video, job.tracks, job.targets, masks=job.masks, concept=picture)
        return swapper.swap(full, plates[scene_key])

    return run


def test_the_new_subject_covers_the_old_one_exactly(swap, tmp_path):
    job = scene()
    result = swap(job, tmp_path, red_box(), feather=0, colour_match=0)
    new, old = result.subject.frames > 127, job.masks.frames > 127
    assert (new & old).sum() / (new | old).sum() > 0.97
    inside = cv2.erode(old[7].astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(result.video.frames[7][inside].astype(int) - (200, 20, 20)).max() <= 2


def test_pixels_outside_both_subjects_are_those_of_the_source(swap, tmp_path):
    job = scene()
    result = swap(job, tmp_path, red_box())
    outside = (job.masks.frames == 0) & (result.subject.frames == 0)
    assert outside.mean() > 0.5
    assert (result.video.frames[outside] == job.video.frames[outside]).all()


def test_nothing_of_the_old_subject_is_left_beside_a_smaller_new_one(swap, tmp_path):
    job = scene()
    small = red_box(("a", "b", "c", "d"), (4 * BOX + [-40, -30]).astype(np.float32))
    result = swap(job, tmp_path, small, feather=0)
    beside = (job.masks.frames > 127) & (result.subject.frames == 0)
    blue = result.video.frames[beside].astype(int)
    assert beside.sum() > 2000
    assert (np.abs(blue - (30, 60, 200)).max(axis=1) < 20).mean() < 0.02


def test_what_stood_in_front_of_the_old_subject_stands_in_front_of_the_new_one(swap, tmp_path):
    job = scene(post=True)
    result = swap(job, tmp_path / "kept", red_box())
    crossed = range(12, 19)  # the post is inside the box, with parts of it on both sides
    post = result.video.frames[crossed][:, 30:50, 62:68].astype(int)
    assert (np.abs(post - (40, 220, 40)).max(axis=-1) < 30).mean() > 0.95
    assert (result.subject.frames[crossed][:, 30:50, 62:68] < 30).mean() > 0.95
    off = swap(job, tmp_path / "off", red_box(), occlusion=False)
    assert (off.subject.frames[12, 30:50, 62:68] > 200).all()


def banded(frames: range, seen_there: bool = False) -> SwapJob:
    """`scene` in which the box has a green band, taken out of its mask, in some frames; a fifth point is on it."""
    job = scene()
    video, masks = job.video.frames.copy(), job.masks.frames.copy()
    for frame in frames:
        left = 10 + 2 * frame
        video[frame, 24:55, left + 14 : left + 26] = (40, 220, 40)
        masks[frame, 24:55, left + 14 : left + 26] = 0
    middle = job.tracks.xy[:, :1] + np.float32((20, 15))
    seen = np.ones((FRAMES, 1), bool)
    seen[list(frames)] = seen_there
    xy, visible = np.concatenate([job.tracks.xy, middle], 1), np.concatenate([job.tracks.visible, seen], 1)
    tracks = PointTracks((*job.tracks.names, "e"), xy, visible, np.ones(visible.shape, np.float32), job.tracks.size)
    return SwapJob(Video(video, 24.0), tracks, tracks, masks=Masks(masks))


def test_what_is_in_front_for_several_frames_hides_and_what_is_there_for_one_does_not(swap, tmp_path):
    lasting = swap(banded(range(8, 12)), tmp_path / "lasting", red_box()).subject.frames
    once = swap(banded(range(9, 10)), tmp_path / "once", red_box()).subject.frames
    assert (lasting[9, 30:50, 44:52] < 30).all()
    assert (once[9, 30:50, 44:52] > 250).all()


def test_a_visible_point_tells_that_nothing_is_in_front_of_it(swap, tmp_path):
    subject = swap(banded(range(8, 12), seen_there=True), tmp_path, red_box()).subject.frames
    assert all((subject[frame, 30:50, 26 + 2 * frame : 34 + 2 * frame] > 250).all() for frame in range(8, 12))


def test_what_covers_an_end_of_the_subject_for_a_while_hides_it(swap, tmp_path):
    job = scene()
    video, masks = job.video.frames.copy(), job.masks.frames.copy()
    visible = job.tracks.visible.copy()
    for frame in range(8, 12):  # nothing of the subject lies beyond the cover, only the frames before and after tell
        right = 10 + 2 * frame + 41
        video[frame, 20:60, right - 14 : right + 4] = (40, 220, 40)
        masks[frame, :, right - 14 :] = 0
        visible[frame, 1:3] = False
    tracks = PointTracks(job.tracks.names, job.tracks.xy, visible, job.tracks.confidence, job.tracks.size)
    covered = SwapJob(Video(video, 24.0), tracks, tracks, masks=Masks(masks))
    subject = swap(covered, tmp_path, red_box()).subject.frames
    assert (subject[9, 30:50, 59:66] < 30).all()
    assert (subject[9, 30:50, 39:49] > 250).all()


def test_the_new_subject_is_as_light_as_the_scene_and_gets_darker_with_it(swap, tmp_path):
    job = scene()
    fading = np.linspace(1.0, 0.5, FRAMES)[:, None, None, None]
    video = Video((job.video.frames * fading).astype(np.uint8), 24.0)
    dimmed = SwapJob(video, job.tracks, job.targets, masks=job.masks)

    dark = red_box().cutout()
    dark.rgba[..., :3] //= 4

    def reds(strength: float) -> list[int]:
        frames = swap(dimmed, tmp_path / str(strength), Picture(dark), colour_match=strength).video.frames
        return [int(frames[frame, 40, 10 + 2 * frame + 20, 0]) for frame in (2, 17)]

    assert reds(0) == [50, 50]
    early, late = reds(1)
    assert early > 70
    assert late < 0.85 * early


def test_holes_in_a_noisy_mask_punch_none_in_the_new_subject(swap, tmp_path):
    job, generator = scene(), np.random.default_rng(3)
    masks = job.masks.frames.copy()
    for mask in masks:
        ys, xs = np.nonzero(mask)
        for index in generator.integers(0, len(ys), 3):
            cv2.circle(mask, (int(xs[index]), int(ys[index])), 4, 0, -1)
    masks[9] = 0
    noisy = SwapJob(job.video, job.tracks, job.targets, masks=Masks(masks))
    result = swap(noisy, tmp_path, red_box())
    inside = cv2.erode((job.masks.frames[9] > 0).astype(np.uint8), np.ones((7, 7))) > 0
    assert (result.subject.frames[9][inside] > 250).all()
    whole = np.stack([cv2.erode((mask > 0).astype(np.uint8), np.ones((7, 7))) > 0 for mask in job.masks.frames])
    assert (result.subject.frames[whole] > 250).mean() > 0.99


def test_a_mirrored_picture_is_turned_round_once_for_the_clip(swap, tmp_path):
    rgba = np.zeros((80, 100, 4), np.uint8)
    rgba[10:71, 8:89] = (200, 20, 20, 255)
    rgba[10:71, 60:89] = (250, 250, 20, 255)
    points = 2 * BOX + [8, 10]
    backwards = Picture(Cutout(rgba, ("b", "a", "d", "c"), points.astype(np.float32)))
    result = swap(scene(), tmp_path, backwards, colour_match=0)
    for frame in (0, 10):
        start = 10 + 2 * frame
        assert result.video.frames[frame, 40, start + 4, 1] > 200  # yellow now at the left
        assert result.video.frames[frame, 40, start + 36, 1] < 60


def test_the_same_job_gives_the_same_bytes(swap, tmp_path):
    first, second = (swap(scene(), tmp_path / name, red_box()).digest() for name in ("a", "b"))
    assert first == second


def test_working_in_chunks_changes_nothing(swap, tmp_path, monkeypatch):
    whole = swap(scene(), tmp_path / "a", red_box()).digest()
    monkeypatch.setattr("vswap_swappers.warp._CHUNK", 3)
    assert swap(scene(), tmp_path / "b", red_box()).digest() == whole


def test_a_subject_outside_the_frame_leaves_the_plate_alone(swap, tmp_path):
    job = scene()
    away = PointTracks(
        job.targets.names,
        job.targets.xy + np.float32(500),
        job.targets.visible,
        job.targets.confidence,
        (WIDTH, HEIGHT),
    )
    gone = SwapJob(job.video, job.tracks, away, masks=job.masks)
    assert not swap(gone, tmp_path, red_box()).subject.frames.any()


def test_without_masks_the_user_reads_how_to_name_them(tmp_path):
    job = scene()
    bare = SwapJob(job.video, job.tracks, job.targets)
    with pytest.raises(InputError, match=r"needs masks.*masks: {name: files"):
        Warp(WarpOptions(), Context(tmp_path)).prepare(bare, tmp_path)


def test_names_that_do_not_meet_are_listed(swap, tmp_path):
    with pytest.raises(InputError, match=r"none of its points \(q, r, s, t\).*known: a, b, c, d"):
        swap(scene(), tmp_path, red_box(("q", "r", "s", "t")))


def test_a_picture_with_nothing_in_it_is_refused(swap, tmp_path):
    empty = Picture(Cutout(np.zeros((8, 8, 4), np.uint8), ("a",), np.zeros((1, 2), np.float32)))
    with pytest.raises(InputError, match="transparent everywhere"):
        swap(scene(), tmp_path, empty)
