from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vswap_canonical.deformation.fit import DeformationFit, distance_to_rotations
from vswap_canonical.deformation.layers import REACH, Deformation
from vswap_canonical.deformation_field import DeformationField
from vswap_canonical.keyframe import Keyframe
from vswap_canonical.register import DeformationFieldOptions, SimilarityOptions
from vswap_canonical.similarity import Similarity
from vswap_kernel.api import Context, NoOptions
from vswap_kernel.errors import InputError, StoreError
from vswap_kernel.types import DisplacementField, FloatArray, Masks, PointEdit, PointTracks, Video

Array = NDArray[np.float64]
SIZE, FRAMES, EDITED = (96, 72), 8, 4
HALF = (30, 8)  # of the strip, in pixels
CURVATURES = np.linspace(-0.02, 0.02, FRAMES)
PLACES = np.array([[-25, 0], [-12, 3], [0, -3], [12, 3], [25, 0]], np.float64)
FILES = {"deformation.safetensors", "deformation.json", "canonical.png", "pictures.json"}


def bent(places: Array, frame: int) -> Array:
    """Pixels of places (along, across) of a strip that is bent to an arc and drifts."""
    k, centre = CURVATURES[frame], np.array([48 + frame, 36])
    along, across = places[..., 0], places[..., 1]
    arc = np.stack([(1 / k - across) * np.sin(k * along), 1 / k - (1 / k - across) * np.cos(k * along)], -1)
    return arc + centre


def straight(xy: Array, frame: int) -> Array:
    """The inverse."""
    k, (x, y) = CURVATURES[frame], np.moveaxis(xy - np.array([48 + frame, 36]), -1, 0)
    side, radius = np.sign(k), 1 / k
    return np.stack([np.arctan2(x * side, (radius - y) * side) / k, radius - side * np.hypot(x, radius - y)], -1)


def noise(seed: int, width: int, height: int) -> FloatArray:
    random = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(random, (0, 0), 1.2)
    return np.asarray((smooth - smooth.min()) / np.ptp(smooth) * 255, np.float32)


@pytest.fixture(scope="module")
def strip() -> tuple[Video, Masks, PointTracks]:
    """A textured strip on textured ground."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    skin, ground = noise(0, 100, 40), noise(1, *SIZE)
    frames, masks = [], []
    for frame in range(FRAMES):
        place = straight(np.stack([x, y], -1).astype(np.float64), frame)
        inside = (abs(place) < HALF).all(-1)
        at = (place + np.array([50, 20])).astype(np.float32)
        shown = np.where(inside, cv2.remap(skin, at[..., 0], at[..., 1], cv2.INTER_LINEAR), ground)
        frames.append(np.repeat(shown[..., None], 3, -1).astype(np.uint8))
        masks.append(inside * np.uint8(255))
    xy = np.stack([bent(PLACES, frame) for frame in range(FRAMES)]).astype(np.float32)
    seen = np.ones(xy.shape[:2], bool)
    tracks = PointTracks(tuple("abcde"), xy, seen, seen.astype(np.float32), SIZE)
    return Video(np.stack(frames), 12.0), Masks(np.stack(masks)), tracks


def fit(
    folder: Path, video: Video, masks: Masks | None, tracks: PointTracks, seed: int = 0, **options: float
) -> tuple[DeformationField, Path]:
    scratch, out = folder / "scratch", folder / "out"
    for each in (scratch, out):
        each.mkdir(parents=True, exist_ok=True)
    settings = DeformationFieldOptions.model_validate({"steps": 90} | options)
    canonical = DeformationField(settings, Context(scratch, seed=seed))
    canonical.fit(video, masks, tracks, out)
    return canonical, out


@pytest.fixture(scope="module")
def fitted(strip: tuple[Video, Masks, PointTracks], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("strip"), *strip)[1]


def canonical(**options: float) -> DeformationField:
    return DeformationField(DeformationFieldOptions.model_validate(options), Context(Path()))


def drag(strip: tuple[Video, Masks, PointTracks], offset: tuple[float, float]) -> tuple[PointEdit, Array]:
    """Moves of all points by an offset (along, across) in the strip's own coordinates, and where they truly go."""
    places = bent(PLACES + offset, EDITED).astype(float).tolist()
    edit = PointEdit(EDITED, {name: (x, y) for name, (x, y) in zip(strip[2].names, places, strict=True)})
    return edit, np.stack([bent(PLACES + offset, frame) - bent(PLACES, frame) for frame in range(FRAMES)])


def deformation(seed: int = 0) -> tuple[Deformation, torch.Tensor]:
    """A strongly bent one of five frames, and canonical places [3, 40, 2] in and around its subject."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.tensor([[0.02, 0.004, -1.0], [-0.003, 0.025, -0.8]]).expand(5, 2, 3)
    field = Deformation(maps, reference=2, layers=8, knots=9)
    field.tables.data = 0.15 * torch.randn(field.tables.shape, generator=random)
    return field, 4 * REACH * (torch.rand(3, 40, 2, generator=random) - 0.5)


def test_the_deformation_is_inverted_to_a_thousandth_of_a_pixel_also_outside_what_it_is_trained_on() -> None:
    field, places = deformation()
    frames = torch.tensor([0, 1, 4])
    with torch.no_grad():
        xy = field.from_canonical(places, frames)
        np.testing.assert_allclose(field.from_canonical(field.to_canonical(xy, frames), frames), xy, atol=1e-3)
        assert float((field.carry(xy, frames, torch.tensor([3, 3, 3])) - xy).abs().amax()) > 5
        assert float(torch.linalg.det(field.stretch(places, frames)).min()) > 0


def test_on_the_reference_frame_nothing_is_bent() -> None:
    field, places = deformation()
    reference = torch.full((3,), 2)
    with torch.no_grad():
        bends = field.stretch(places, reference)
    np.testing.assert_allclose(bends, torch.eye(2).expand_as(bends), atol=1e-6)


def test_the_jacobian_is_that_of_small_differences() -> None:
    field, places = deformation()
    field, places, frames = field.double(), places.double(), torch.tensor([0, 1, 4])
    step = 1e-6 * torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        ends = [[field.from_canonical(places + sign * axis, frames) for sign in (1, -1)] for axis in step]
        whole = torch.stack([(ahead - behind) / 2e-6 for ahead, behind in ends], -1)
        np.testing.assert_allclose(field.maps[frames, None, :, :2] @ whole, field.stretch(places, frames), atol=1e-6)


def test_rotations_alone_are_rigid() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    both = distance_to_rotations(torch.stack([turn, 2 * turn, turn @ torch.diag(torch.tensor([1.5, 0.5]))]))
    np.testing.assert_allclose(both, [0, 2, 0.5], atol=1e-5)


@pytest.mark.parametrize(("offset", "share"), [((6.0, 0.0), 0.6), ((0.0, -14.0), 0.75), ((0.0, 4.0), 0.75)])
def test_on_a_bending_subject_a_drag_is_carried_better_than_by_keyframe_and_similarity(
    strip: tuple[Video, Masks, PointTracks], fitted: Path, offset: tuple[float, float], share: float
) -> None:
    edit, exact = drag(strip, offset)
    others = (Keyframe(NoOptions(), Context(Path())), Similarity(SimilarityOptions(), Context(Path())))
    error, *their = (
        float(np.linalg.norm(each.propagate(fitted, strip[2], edit).delta - exact, axis=-1).mean())
        for each in (canonical(reach=0.25), *others)
    )
    assert error < share * min(their), (error, their)


def test_the_edited_frame_is_exact_and_points_not_moved_stay(
    strip: tuple[Video, Masks, PointTracks], fitted: Path
) -> None:
    x, y = strip[2].xy[EDITED, 1].tolist()
    field = canonical().propagate(fitted, strip[2], PointEdit(EDITED, {"b": (x + 5, y - 9)}))
    np.testing.assert_allclose(field.delta[EDITED, 1], [5, -9], atol=1e-4)
    assert not field.delta[:, [0, 2, 3, 4]].any()
    assert field.valid.all()


def test_what_is_written_says_how_good_it_is(fitted: Path) -> None:
    assert {file.name for file in fitted.iterdir()} == FILES
    about = json.loads((fitted / "deformation.json").read_text())
    assert about["held_out_px"] < 0.5 * about["start_px"]
    assert about["psnr"] > 25
    assert [*json.loads((fitted / "pictures.json").read_text())] == ["canonical.png"]
    picture = cv2.imread(str(fitted / "canonical.png"), cv2.IMREAD_UNCHANGED)
    assert picture.shape[2] == 4
    assert 0.3 < (picture[..., 3] > 0).mean() < 1


def test_one_seed_gives_the_same_bytes_and_another_one_others(
    strip: tuple[Video, Masks, PointTracks], tmp_path: Path
) -> None:
    outs = [fit(tmp_path / str(index), *strip, seed=seed, steps=10)[1] for index, seed in enumerate((3, 3, 4))]
    first, second, other = ({file.name: file.read_bytes() for file in out.iterdir()} for out in outs)
    assert first == second
    assert first["deformation.safetensors"] != other["deformation.safetensors"]


def test_an_interrupted_fit_goes_on_and_ends_with_the_same_bytes(
    strip: tuple[Video, Masks, PointTracks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {file.name: file.read_bytes() for file in fit(tmp_path / "whole", *strip, steps=60)[1].iterdir()}
    steps: list[int] = []
    plain = DeformationFit._step

    def interrupted(self: DeformationFit) -> None:
        if len(steps) == 40:
            raise KeyboardInterrupt
        steps.append(self.course.step)
        plain(self)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(DeformationFit, "_step", interrupted)
        fit(tmp_path / "parted", *strip, steps=60)
    rest: list[int] = []
    monkeypatch.setattr(DeformationFit, "_step", lambda self: (rest.append(self.course.step), plain(self)))
    out = fit(tmp_path / "parted", *strip, steps=60)[1]
    assert rest[0] == 25  # the last checkpoint
    assert {file.name: file.read_bytes() for file in out.iterdir()} == whole


def test_a_checkpoint_of_another_fit_is_refused(strip: tuple[Video, Masks, PointTracks], tmp_path: Path) -> None:
    fit(tmp_path, *strip, steps=10)
    with pytest.raises(InputError, match=r"deformation-field\.safetensors: a checkpoint of another training"):
        fit(tmp_path, *strip, steps=11)


def test_one_bad_track_does_not_bend_it(strip: tuple[Video, Masks, PointTracks], fitted: Path, tmp_path: Path) -> None:
    video, masks, tracks = strip
    xy = tracks.xy.copy()
    xy[EDITED + 1 :, 2] += (25, -20)
    bad, out = fit(tmp_path, video, masks, replace(tracks, xy=xy))
    edit, exact = drag(strip, (0.0, -14.0))
    good = canonical().propagate(fitted, tracks, edit).delta
    off = np.linalg.norm(bad.propagate(out, tracks, edit).delta - exact, axis=-1).mean()
    assert off < 1.3 * np.linalg.norm(good - exact, axis=-1).mean()


def test_without_masks_it_follows_what_is_around_the_points(
    strip: tuple[Video, Masks, PointTracks], tmp_path: Path
) -> None:
    video, _, tracks = strip
    free, out = fit(tmp_path, video, None, tracks)
    edit, exact = drag(strip, (6.0, 0.0))
    plain = Keyframe(NoOptions(), Context(Path())).propagate(out, tracks, edit).delta
    off = (np.linalg.norm(delta - exact, axis=-1).mean() for delta in (free.propagate(out, tracks, edit).delta, plain))
    assert next(off) < 0.8 * next(off)


def _moved(tracks: PointTracks, field: DeformationField, out: Path) -> DisplacementField:
    name, (x, y) = tracks.names[0], tracks.xy[0, 0].tolist()
    return field.propagate(out, tracks, PointEdit(0, {name: (x + 3, y - 4)}))


def first_frames(strip: tuple[Video, Masks, PointTracks], count: int) -> tuple[Video, Masks, PointTracks]:
    video, masks, tracks = strip
    arrays = (tracks.xy[:count], tracks.visible[:count], tracks.confidence[:count], SIZE)
    return Video(video.frames[:count], 12.0), Masks(masks.frames[:count]), PointTracks(tracks.names, *arrays)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_frames_are_enough(strip: tuple[Video, Masks, PointTracks], tmp_path: Path, count: int) -> None:
    short = first_frames(strip, count)
    field, out = fit(tmp_path, *short, steps=10)
    np.testing.assert_allclose(_moved(short[2], field, out).delta[0, 0], [3, -4], atol=1e-4)


def test_in_a_static_clip_the_move_is_the_same_in_every_frame(
    strip: tuple[Video, Masks, PointTracks], tmp_path: Path
) -> None:
    video, masks, tracks = strip
    still = [np.repeat(each[:1], 4, axis=0) for each in (video.frames, masks.frames, tracks.xy, tracks.visible)]
    static = PointTracks(tracks.names, still[2], still[3], still[3].astype(np.float32), SIZE)
    field, out = fit(tmp_path, Video(still[0], 12.0), Masks(still[1]), static, steps=10)
    np.testing.assert_allclose(_moved(static, field, out).delta[:, 0], np.tile([3, -4], (4, 1)), atol=0.02)


def test_a_subject_that_fills_the_frame_is_fitted(strip: tuple[Video, Masks, PointTracks], tmp_path: Path) -> None:
    video, masks, tracks = first_frames(strip, 3)
    field, out = fit(tmp_path, video, Masks(np.full_like(masks.frames, 255)), tracks, steps=10)
    assert np.isfinite(_moved(tracks, field, out).delta).all()


def test_a_clip_without_texture_goes_by_its_tracks(tmp_path: Path) -> None:
    place = np.array([[20, 20], [40, 22], [30, 40]], np.float32)
    xy = np.stack([place, place * 1.5]).astype(np.float32)
    seen = np.ones((2, 3), bool)
    tracks = PointTracks(("a", "b", "c"), xy, seen, seen.astype(np.float32), SIZE)
    field, out = fit(tmp_path, Video(np.zeros((2, *SIZE[::-1], 3), np.uint8), 12.0), None, tracks, steps=10)
    assert np.isfinite(_moved(tracks, field, out).delta).all()


def test_masks_that_are_empty_everywhere_are_refused_and_in_one_frame_make_moves_invalid_there(
    strip: tuple[Video, Masks, PointTracks], tmp_path: Path
) -> None:
    video, masks, tracks = strip
    with pytest.raises(InputError, match="masks: empty in every frame"):
        fit(tmp_path / "all", video, Masks(np.zeros_like(masks.frames)), tracks)
    frames, visible = masks.frames.copy(), tracks.visible.copy()
    frames[6], visible[6] = 0, False
    hidden = replace(tracks, visible=visible)
    field, out = fit(tmp_path / "one", video, Masks(frames), hidden, steps=10)
    got = field.propagate(out, tracks, PointEdit(0, {"a": (10.0, 20.0)}))
    assert np.flatnonzero(~got.valid[:, 0]).tolist() == [6]
    assert got.valid[:, 1:].all()


def test_a_damaged_fit_or_one_of_another_length_is_refused(
    strip: tuple[Video, Masks, PointTracks], fitted: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="fitted to 8 frames, but the tracks have 2"):
        _moved(first_frames(strip, 2)[2], canonical(), fitted)
    (tmp_path / "deformation.safetensors").write_bytes(b"nothing")
    with pytest.raises(StoreError, match="not a fitted deformation"):
        _moved(strip[2], canonical(), tmp_path)
