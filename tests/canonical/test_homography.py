from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vswap_canonical.homography import Homography
from vswap_canonical.hulls import inside_hull, share_inside
from vswap_canonical.keyframe import Keyframe
from vswap_canonical.register import HomographyOptions, SimilarityOptions
from vswap_canonical.similarity import Similarity
from vswap_kernel.api import Context, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.types import DisplacementField, PointEdit, PointTracks, Video

FRAMES, EDITED = 9, 4
PLACES = np.array([[40, 30], [10, 28], [24, 14], [20, 44], [35, 22], [28, 31]], np.float64)
NAMES = ("nose", "tail", "top", "foot", "eye", "middle")
EXACT = {"noise": 0.01, "smooth": 0}
"""Options for tracks without errors."""


def plane(t: int) -> np.ndarray:
    """The homography of frame t: the subject turns, grows, leans and tilts away from the camera."""
    angle, scale = 0.08 * t, 1.04**t
    turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turned @ [[1 - 0.04 * t, 0.03 * t], [0, 1]]
    return np.block([[linear, np.array([[3 * t], [-t]])], [np.array([[6e-4 * t, -4e-4 * t]]), np.eye(1)]])


def applied(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    x, y, w = matrix @ np.vstack([places.T, np.ones(len(places))])
    return np.stack([x / w, y / w], -1)


def carried(t: int, places: np.ndarray) -> np.ndarray:
    """Places of the edited frame, in frame t."""
    return applied(plane(t) @ np.linalg.inv(plane(EDITED)), places)


def tracks_of(xy: np.ndarray) -> PointTracks:
    seen = np.ones(xy.shape[:2], bool)
    return PointTracks(NAMES[: xy.shape[1]], xy.astype(np.float32), seen, seen.astype(np.float32), (64, 64))


TILTING = tracks_of(np.stack([applied(plane(t), PLACES) for t in range(FRAMES)]))


def moved(tracks: PointTracks, name: str, offset: tuple[float, float], frame: int = EDITED) -> PointEdit:
    x, y = (tracks.xy[frame, tracks.names.index(name)] + offset).tolist()
    return PointEdit(frame, {name: (x, y)})


def truth(tracks: PointTracks, edit: PointEdit) -> np.ndarray:
    """How the plane carries the one move of `edit`: [T, 2]."""
    ((name, place),) = edit.move.items()
    both = np.array([tracks.xy[EDITED, tracks.names.index(name)], place], np.float64)
    return np.array([np.subtract(*carried(t, both)[::-1]) for t in range(FRAMES)])


def propagate(tracks: PointTracks, edit: PointEdit, **options: float | str) -> DisplacementField:
    canonical = Homography(HomographyOptions.model_validate(options), Context(Path()))
    return canonical.propagate(Path(), tracks, edit)


def hidden(tracks: PointTracks, frames: list[int], points: list[int]) -> PointTracks:
    visible = tracks.visible.copy()
    visible[np.ix_(frames, points)] = False
    return replace(tracks, visible=visible)


def test_a_known_homography_carries_a_move_inside_the_points_exactly() -> None:
    edit = moved(TILTING, "middle", (-4, 3))
    field = propagate(TILTING, edit, **EXACT)
    point = NAMES.index("middle")
    np.testing.assert_allclose(field.delta[:, point], truth(TILTING, edit), atol=2e-3)
    assert not np.delete(field.delta, point, axis=1).any()
    assert field.valid.all()


def test_four_points_are_enough_for_a_homography_and_the_defaults_are_near_it() -> None:
    tracks = TILTING.subset(("nose", "tail", "top", "foot"))
    edit = moved(tracks, "top", (1, 8))
    np.testing.assert_allclose(propagate(tracks, edit, **EXACT).delta[:, 2], truth(tracks, edit), atol=5e-3)
    np.testing.assert_allclose(propagate(tracks, edit).delta[:, 2], truth(tracks, edit), atol=0.4)  # of 8 to 11 px


def test_outside_the_points_a_move_goes_straight_on_in_the_local_frame() -> None:
    near, far = (propagate(TILTING, moved(TILTING, "top", (0, -y)), **EXACT).delta[:, 2] for y in (10, 20))
    np.testing.assert_allclose(far, 2 * near, atol=1e-4)
    np.testing.assert_allclose(near, truth(TILTING, moved(TILTING, "top", (0, -0.01))) * 1000, atol=0.02)


def test_a_move_that_leaves_the_hull_on_its_way_has_no_jump_there() -> None:
    """From the middle out past the nose: displacements as the place goes out in steps of a quarter pixel."""
    steps = [propagate(TILTING, moved(TILTING, "middle", (x, 0)), **EXACT).delta[8, 5] for x in np.arange(4, 30, 0.25)]
    assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() < 0.6


def test_on_the_edited_frame_the_displacement_is_what_was_asked() -> None:
    noisy = replace(TILTING, xy=TILTING.xy + np.random.default_rng(0).normal(0, 2, TILTING.xy.shape).astype(np.float32))
    field = propagate(noisy, moved(noisy, "eye", (5, -6)), smooth=3)
    np.testing.assert_allclose(field.delta[EDITED, 4], (5, -6), atol=1e-4)


@pytest.mark.parametrize("bad", range(6))
def test_one_bad_track_hardly_matters(bad: int) -> None:
    random = np.random.default_rng(bad)
    xy = TILTING.xy + random.normal(0, 0.1, TILTING.xy.shape).astype(np.float32)
    xy[EDITED + 1 :, bad] += random.uniform(15, 40) * np.array([np.cos(bad), np.sin(bad)], np.float32)
    tracks = replace(TILTING, xy=xy)
    edit = moved(tracks, "tail", (6, -4))
    assert np.abs(propagate(tracks, edit, smooth=0).delta[:, 1] - truth(tracks, edit)).max() < 0.6  # of 8 px


def squeezed(t: int) -> np.ndarray:
    """A subject that turns away: ever shorter, and leaning."""
    return np.array([[1 - 0.08 * t, 0.02 * t], [0, 1]])


def test_three_points_tell_an_affine_map() -> None:
    tracks = tracks_of(np.stack([PLACES[:3] @ squeezed(t).T for t in range(FRAMES)]))
    exact = [squeezed(t) @ np.linalg.inv(squeezed(EDITED)) @ (3, 5) for t in range(FRAMES)]
    np.testing.assert_allclose(propagate(tracks, moved(tracks, "top", (3, 5)), **EXACT).delta[:, 2], exact, atol=0.02)


def similar(tracks: PointTracks, edit: PointEdit) -> np.ndarray:
    return Similarity(SimilarityOptions(), Context(Path())).propagate(Path(), tracks, edit).delta


def test_two_points_tell_a_similarity() -> None:
    tracks = TILTING.subset(("tail", "top"))
    edit = moved(tracks, "tail", (6, -4))
    np.testing.assert_allclose(propagate(tracks, edit, smooth=0).delta, similar(tracks, edit), atol=0.02)


def test_points_on_a_line_tell_a_similarity() -> None:
    line = np.stack([10 + 6 * np.arange(6), 20 + 2.0 * np.arange(6)], -1)
    random = np.random.default_rng(3)
    xy = np.stack([line @ np.array([[0, 1], [-1, 0]]).T * 1.1**t if t > 5 else line * 1.1**t for t in range(FRAMES)])
    tracks = tracks_of(xy + random.normal(0, 0.1, xy.shape))
    edit = moved(tracks, "top", (-2, 6))  # across the line, of which the points say nothing
    np.testing.assert_allclose(propagate(tracks, edit, smooth=0).delta, similar(tracks, edit), atol=0.6)  # of 6 to 9 px


def test_where_fewer_than_two_points_are_seen_the_move_is_interpolated_and_not_valid() -> None:
    tracks = hidden(TILTING, [6], [1, 2, 3, 4, 5])
    edit = moved(tracks, "nose", (-6, 1))
    whole, broken = (propagate(each, edit, **EXACT) for each in (TILTING, tracks))
    np.testing.assert_allclose(broken.delta[:, 0], whole.delta[:, 0], atol=0.1)
    assert np.flatnonzero(~broken.valid[:, 0]).tolist() == [6]
    np.testing.assert_array_equal(broken.valid[:, 1:], tracks.visible[:, 1:])


def test_hidden_points_do_not_count() -> None:
    tracks = hidden(TILTING, [7], [0])
    xy = tracks.xy.copy()
    xy[7, 0] = 0
    edit = moved(tracks, "middle", (-4, 3))
    np.testing.assert_allclose(
        propagate(replace(tracks, xy=xy), edit, **EXACT).delta[:, 5], truth(tracks, edit), atol=5e-3
    )


def test_a_subject_that_turns_round_is_mirrored_unless_forbidden() -> None:
    flips = [np.diag([-1.0 if t > 5 else 1.0, 1.0]) for t in range(FRAMES)]
    tracks = tracks_of(np.stack([PLACES @ flip for flip in flips]))
    edit = moved(tracks, "top", (6, -4))
    assert propagate(tracks, edit, smooth=0).delta[7, 2] == pytest.approx((-6, -4), abs=0.05)


def test_where_the_subject_stands_still_it_is_keyframe() -> None:
    tracks = tracks_of(np.tile(PLACES, (FRAMES, 1, 1)))
    edit = moved(tracks, "nose", (15, -4))
    plain = Keyframe(NoOptions(), Context(Path())).propagate(Path(), tracks, edit)
    np.testing.assert_allclose(propagate(tracks, edit).delta, plain.delta, atol=1e-4)


def test_one_frame_is_enough() -> None:
    tracks = tracks_of(PLACES[None])
    field = propagate(tracks, moved(tracks, "nose", (2, 3), frame=0))
    np.testing.assert_allclose(field.delta[0, 0], (2, 3), atol=1e-5)


def test_a_keyframe_with_one_visible_point_is_refused_with_what_to_do() -> None:
    tracks = hidden(TILTING, [EDITED], [1, 2, 3, 4, 5])
    with pytest.raises(InputError, match=r"1 visible point.*'homography' needs two.*canonical: \{name: keyframe\}"):
        propagate(tracks, moved(tracks, "nose", (1, 1)))
    assert not propagate(tracks, PointEdit(EDITED)).delta.any()


def test_fit_leaves_something_to_keep(tmp_path: Path) -> None:
    video = Video(np.zeros((FRAMES, 48, 64, 3), np.uint8), 25.0)
    Homography(HomographyOptions(), Context(tmp_path)).fit(video, None, TILTING, tmp_path)
    assert [file.stat().st_size < 200 for file in tmp_path.iterdir()] == [True]


def test_a_hull_holds_its_points_and_lets_a_move_go_as_far_as_its_edge() -> None:
    square = np.array([0, 10, 10 + 10j, 10j, 4 + 4j])
    places = np.array([5 + 5j, 12 + 5j, 0, -0.5j])
    assert inside_hull(square, places, 0).tolist() == [True, False, True, False]
    assert inside_hull(square, places, 1).tolist() == [True, False, True, True]
    share = share_inside(square, np.array([4 + 4j, 4 + 4j, 0, 0]), np.array([12, 2, 5 + 5j, -3]))
    np.testing.assert_allclose(share, [0.5, 1, 1, 0])
