from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vswap_canonical.homography import Homography
from vswap_canonical.register import HomographyOptions, SimilarityOptions, ThinPlateOptions
from vswap_canonical.similarity import Similarity
from vswap_canonical.thin_plate import ThinPlate
from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.types import DisplacementField, PointEdit, PointTracks, Video
from vswap_toybox.clip import drag
from vswap_toybox.evaluation.suites import moves, suite_clip

FRAMES = 9


def bent(t: int, places: np.ndarray) -> np.ndarray:
    """Places [N, 2] of frame 0 in frame t: the subject turns and grows, and its right half bends up like a tail."""
    angle, x = 0.06 * t, places[:, 0]
    up = 0.15 * t * np.where(x > 30, (x - 30) / 10, 0) ** 2
    turn = 1.02**t * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (places - np.stack([0 * up, up], -1)) @ turn.T + (2 * t, -t)


def tracks_of(places: np.ndarray, noise: float = 0.0) -> PointTracks:
    xy = np.stack([bent(t, places) for t in range(FRAMES)]).astype(np.float32)
    xy[1:] += np.random.default_rng(0).normal(0, noise, xy[1:].shape)
    seen = np.ones(xy.shape[:2], bool)
    return PointTracks(tuple(map(str, range(len(places)))), xy, seen, seen.astype(np.float32), (96, 64))


GRID = np.stack(np.meshgrid(np.linspace(5, 55, 6), np.linspace(10, 40, 4)), -1).reshape(-1, 2)
TAIL = 10  # at (45, 20), where the subject bends most


def moved(tracks: PointTracks, point: int, offset: tuple[float, float], frame: int = 0) -> PointEdit:
    x, y = (tracks.xy[frame, point] + offset).tolist()
    return PointEdit(frame, {tracks.names[point]: (x, y)})


def truth(edit: PointEdit, places: np.ndarray) -> np.ndarray:
    ((name, place),) = edit.move.items()
    both = np.array([places[int(name)], place])
    return np.array([np.subtract(*bent(t, both)[::-1]) for t in range(FRAMES)])


def propagate(tracks: PointTracks, edit: PointEdit, **options: float | str) -> DisplacementField:
    canonical = ThinPlate(ThinPlateOptions.model_validate(options), Context(Path()))
    return canonical.propagate(Path(), tracks, edit)


def test_a_move_follows_the_bend_of_the_subject_where_a_stiff_map_does_not() -> None:
    tracks = tracks_of(GRID)
    edit = moved(tracks, TAIL, (7, 4))
    exact = truth(edit, GRID)
    flat = Homography(HomographyOptions(smooth=0), Context(Path())).propagate(Path(), tracks, edit)
    off, flat_off = (
        np.abs(each.delta[:, TAIL] - exact).max() for each in (propagate(tracks, edit, stiffness=0.01, smooth=0), flat)
    )
    assert off < 0.6 < 2 < flat_off


def test_without_stiffness_a_point_moved_onto_another_goes_where_that_one_goes() -> None:
    tracks = tracks_of(GRID)
    offset = tracks.xy[:, TAIL + 6] - tracks.xy[:, TAIL]  # onto the one below it
    edit = moved(tracks, TAIL, tuple(offset[0].tolist()))
    field = propagate(tracks, edit, stiffness=0, smooth=0)
    np.testing.assert_allclose(field.delta[:, TAIL], offset, atol=0.02)


def test_a_very_stiff_plate_is_affine() -> None:
    linear = [np.array([[1 - 0.05 * t, 0.04 * t], [0.02 * t, 1 + 0.03 * t]]) for t in range(FRAMES)]
    tracks = tracks_of(GRID)
    tracks = replace(tracks, xy=np.stack([GRID @ each.T for each in linear]).astype(np.float32))
    field = propagate(tracks, moved(tracks, TAIL, (6, -4)), stiffness=1e4, smooth=0)
    np.testing.assert_allclose(field.delta[:, TAIL], [each @ (6, -4) for each in linear], atol=0.01)


@pytest.mark.parametrize("stiffness", [0, 0.1, 10])
def test_an_affine_motion_is_carried_exactly_at_any_stiffness_inside_and_outside(stiffness: float) -> None:
    linear = [np.array([[1 - 0.05 * t, 0.04 * t], [0.02 * t, 1 + 0.03 * t]]) for t in range(FRAMES)]
    tracks = tracks_of(GRID)
    tracks = replace(tracks, xy=np.stack([GRID @ each.T for each in linear]).astype(np.float32))
    for offset in ((3, 4), (2, -40)):
        field = propagate(tracks, moved(tracks, TAIL, offset), stiffness=stiffness, smooth=0)
        np.testing.assert_allclose(field.delta[:, TAIL], [each @ offset for each in linear], atol=0.03)


@pytest.mark.parametrize("bad", range(5))
def test_one_bad_track_of_five_hardly_matters(bad: int) -> None:
    places = np.array([[40, 30], [10, 28], [24, 14], [20, 44], [35, 22]], np.float64)
    turns = [1.1**t * np.exp(0.2j * t) for t in range(FRAMES)]
    matrices = [np.array([[z.real, -z.imag], [z.imag, z.real]]) for z in turns]
    tracks = tracks_of(places, noise=0)
    xy = np.stack([places @ each.T for each in matrices]).astype(np.float32)
    xy[1:] += np.random.default_rng(bad).normal(0, 0.1, xy[1:].shape)
    xy[2:, bad] += np.random.default_rng(bad).choice([-40, -25, 25, 40], 2)
    tracks = replace(tracks, xy=xy)
    field = propagate(tracks, moved(tracks, 1, (6, -4)), smooth=0)
    assert np.abs(field.delta[:, 1] - [each @ (6, -4) for each in matrices]).max() < 0.5  # of 7 to 15 px


def test_one_bad_track_among_many_bends_little() -> None:
    tracks = tracks_of(GRID, noise=0.2)
    xy = tracks.xy.copy()
    xy[3:, TAIL - 1] += (20, -25)
    edit = moved(tracks, TAIL, (7, 4))
    field = propagate(replace(tracks, xy=xy), edit, stiffness=0.01)
    assert np.abs(field.delta[:, TAIL] - truth(edit, GRID)).max() < 1.2


@pytest.mark.parametrize(
    "places", [GRID[[0, 8]], GRID[6:12], GRID[[0, 0, 8, 8]] + [[0, 0], [0.2, 0], [0, 0], [0, 0.2]]]
)
def test_two_points_points_on_a_line_and_points_in_two_heaps_tell_a_similarity(places: np.ndarray) -> None:
    tracks = tracks_of(places)
    turned = np.stack([places * 1.05**t + (3 * t, t) for t in range(FRAMES)])
    tracks = replace(tracks, xy=turned.astype(np.float32))
    edit = moved(tracks, 1, (-2, 6))
    similar = Similarity(SimilarityOptions(), Context(Path())).propagate(Path(), tracks, edit)
    np.testing.assert_allclose(propagate(tracks, edit, smooth=0).delta, similar.delta, atol=0.05)


def test_where_fewer_than_two_points_are_seen_the_move_is_interpolated_and_not_valid() -> None:
    tracks = tracks_of(GRID)
    visible = tracks.visible.copy()
    visible[5, np.arange(len(GRID)) != TAIL] = False
    edit = moved(tracks, TAIL, (7, 4))
    field = propagate(replace(tracks, visible=visible), edit, stiffness=0.01, smooth=0)
    assert np.flatnonzero(~field.valid[:, TAIL]).tolist() == [5]
    assert np.abs(field.delta[5, TAIL] - truth(edit, GRID)[5]).max() < 0.6


def test_a_keyframe_with_one_visible_point_is_refused_with_what_to_do() -> None:
    tracks = tracks_of(GRID[:1])
    with pytest.raises(InputError, match=r"'thin-plate' needs two.*canonical: \{name: keyframe\}"):
        propagate(tracks, moved(tracks, 0, (1, 1)))


def test_fit_leaves_something_to_keep(tmp_path: Path) -> None:
    video = Video(np.zeros((FRAMES, 48, 64, 3), np.uint8), 25.0)
    ThinPlate(ThinPlateOptions(), Context(tmp_path)).fit(video, None, tracks_of(GRID), tmp_path)
    assert [file.stat().st_size < 200 for file in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize(
    "canonical", [ThinPlate(ThinPlateOptions(), Context(Path())), Homography(HomographyOptions(), Context(Path()))]
)
def test_on_exact_drags_of_the_toybox_it_is_nearer_than_similarity(canonical: ThinPlate | Homography) -> None:
    error: dict[object, list[float]] = {}
    similarity = Similarity(SimilarityOptions(), Context(Path()))
    for index in range(4):
        clip = suite_clip("toybox/shape-change", 1, index, (64, 64))
        places = moves("toybox/shape-change", clip)
        edit, exact = PointEdit(clip.keyframe, places), drag(clip, places).delta
        for each in (canonical, similarity):
            field = each.propagate(Path(), clip.tracks, edit)
            off = np.linalg.norm(field.delta - exact, axis=-1)[clip.tracks.visible]
            error.setdefault(each, []).extend(off.tolist())
    assert np.mean(error[canonical]) < 0.7 * np.mean(error[similarity])
