from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vswap_canonical.keyframe import Keyframe
from vswap_canonical.register import SimilarityOptions
from vswap_canonical.similarity import Similarity
from vswap_canonical.turns import fit_turns
from vswap_kernel.api import Context, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.types import DisplacementField, PointEdit, PointTracks, Video
from vswap_toybox.clip import drag
from vswap_toybox.evaluation.suites import moves, suite_clip

NAMES = ("nose", "tail", "top", "foot", "eye")
FRAMES, EDITED = 9, 3
PLACES = np.array([[40, 30], [10, 28], [24, 14], [20, 44], [35, 22]], np.float64)
OFFSET = np.array([6.0, -4.0])


def turn(frame: int) -> np.ndarray:
    """Rotation and growth [2, 2] in `frame`, against frame 0."""
    angle, scale = 0.5 * frame, 1.1**frame
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def tracks_of(maps: list[np.ndarray]) -> PointTracks:
    """The five points under a linear map [2, 2] a frame, on a subject that also shifts."""
    xy = np.stack([(PLACES - 25) @ each.T + 25 + (3 * t, -t) for t, each in enumerate(maps)]).astype(np.float32)
    seen = np.ones(xy.shape[:2], bool)
    return PointTracks(NAMES, xy, seen, seen.astype(np.float32), (64, 48))


TURNING = tracks_of([turn(frame) for frame in range(FRAMES)])
EXACT = np.array([turn(frame) @ np.linalg.inv(turn(EDITED)) @ OFFSET for frame in range(FRAMES)])


def dragged(tracks: PointTracks, *names: str, frame: int = EDITED) -> PointEdit:
    places = tracks.xy[frame] + OFFSET
    return PointEdit(frame, {name: tuple(places[tracks.names.index(name)].tolist()) for name in names})


def hidden(tracks: PointTracks, frames: list[int], points: list[int]) -> PointTracks:
    visible = tracks.visible.copy()
    visible[np.ix_(frames, points)] = False
    return replace(tracks, visible=visible)


def propagate(tracks: PointTracks, edit: PointEdit, **options: str | float) -> DisplacementField:
    canonical = Similarity(SimilarityOptions.model_validate(options), Context(Path()))
    return canonical.propagate(Path(), tracks, edit)


def test_a_move_turns_and_grows_with_the_subject_and_other_points_stay() -> None:
    field = propagate(TURNING, dragged(TURNING, "tail", "eye"))
    assert field.names == NAMES
    for point in (1, 4):
        np.testing.assert_allclose(field.delta[:, point], EXACT, atol=1e-4)
    assert not field.delta[:, [0, 2, 3]].any()
    assert field.valid.all()


def test_where_the_subject_only_shifts_it_is_keyframe() -> None:
    tracks = tracks_of([np.eye(2)] * FRAMES)
    edit = dragged(tracks, "nose", "foot")
    plain = Keyframe(NoOptions(), Context(Path())).propagate(Path(), tracks, edit)
    field = propagate(tracks, edit)
    np.testing.assert_allclose(field.delta, plain.delta, atol=1e-5)
    np.testing.assert_array_equal(field.valid, plain.valid)


@pytest.mark.parametrize("bad", range(5))
def test_one_bad_track_hardly_matters(bad: int) -> None:
    random = np.random.default_rng(0)
    xy = TURNING.xy + random.normal(0, 0.1, TURNING.xy.shape).astype(np.float32)
    xy[EDITED + 1 :, bad] += random.uniform(-40, 40, (FRAMES - EDITED - 1, 2)).astype(np.float32)
    field = propagate(replace(TURNING, xy=xy), dragged(TURNING, "tail"))
    assert np.abs(field.delta[:, 1] - EXACT).max() < 0.5  # of 12 px


def test_the_places_of_hidden_points_do_not_count_and_aren_t_valid() -> None:
    xy = TURNING.xy.copy()
    xy[6, 1:4] = 0
    tracks = hidden(replace(TURNING, xy=xy), [6], [1, 2, 3])
    field = propagate(tracks, dragged(tracks, "tail"))
    np.testing.assert_allclose(field.delta[:, 1], EXACT, atol=1e-4)
    np.testing.assert_array_equal(field.valid, tracks.visible)


def test_only_points_seen_on_the_edited_frame_count() -> None:
    xy = TURNING.xy.copy()
    xy[EDITED, [0, 2]] = (1, 1)
    tracks = hidden(replace(TURNING, xy=xy), [EDITED], [0, 2])
    field = propagate(tracks, dragged(tracks, "tail"))
    np.testing.assert_allclose(field.delta[:, 1], EXACT, atol=1e-4)


@pytest.mark.parametrize("seen", [[0], []])
def test_with_fewer_than_two_points_the_turn_is_interpolated_and_the_move_is_not_valid(seen: list[int]) -> None:
    gap = [5, 6, 8]
    tracks = hidden(TURNING, gap, [point for point in range(5) if point not in seen])
    field = propagate(tracks, dragged(tracks, "nose"))
    np.testing.assert_allclose(field.delta[:8, 0], EXACT[:8], atol=1e-4)  # the turn is steady, so nothing is lost
    np.testing.assert_allclose(field.delta[8, 0], EXACT[7], atol=1e-4)  # nothing after it: the last that is known
    assert np.flatnonzero(~field.valid[:, 0]).tolist() == gap
    np.testing.assert_array_equal(field.valid[:, 1:], tracks.visible[:, 1:])


def test_a_point_that_is_not_moved_is_valid_where_it_is_seen_even_alone() -> None:
    tracks = hidden(TURNING, [5], [0, 2, 3, 4])
    assert propagate(tracks, dragged(tracks, "nose")).valid[5].tolist() == [False, True, False, False, False]


def test_points_that_lie_together_tell_no_turn() -> None:
    xy = TURNING.xy.copy()
    xy[:, 1] = xy[:, 0] + 0.3
    tracks = hidden(replace(TURNING, xy=xy), [5], [2, 3, 4])
    field = propagate(tracks, dragged(tracks, "nose"))
    assert not field.valid[5, 0]
    np.testing.assert_allclose(field.delta[5, 0], EXACT[5], atol=0.05)


def test_two_points_are_enough() -> None:
    tracks = TURNING.subset(("tail", "top"))
    np.testing.assert_allclose(propagate(tracks, dragged(tracks, "tail")).delta[:, 0], EXACT, atol=1e-4)


def test_an_edited_frame_with_fewer_than_two_points_is_refused_with_what_to_do() -> None:
    tracks = hidden(TURNING, [EDITED], [1, 2, 3, 4])
    with pytest.raises(InputError, match=r"edit\.frame: 1 visible .* frame 3.*canonical: \{name: keyframe\}"):
        propagate(tracks, dragged(tracks, "nose"))
    assert not propagate(tracks, PointEdit(EDITED)).delta.any()


def test_jitter_is_smoothed_when_asked_but_not_on_the_edited_frame() -> None:
    random = np.random.default_rng(0)
    still = tracks_of([np.eye(2)] * FRAMES)
    tracks = replace(still, xy=still.xy + random.normal(0, 0.5, still.xy.shape).astype(np.float32))
    plain, smooth = (propagate(tracks, dragged(tracks, "tail"), smooth=frames).delta[:, 1] for frames in (0, 2))
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.5 * np.abs(np.diff(plain, axis=0)).mean()
    np.testing.assert_allclose(smooth[EDITED], OFFSET, atol=1e-5)


def test_a_subject_that_turns_round_is_mirrored_unless_forbidden() -> None:
    round_about = tracks_of([np.diag([-1.0, 1.0]) if frame > 5 else turn(frame) for frame in range(FRAMES)])
    edit = dragged(round_about, "top", frame=0)
    field = propagate(round_about, edit)
    np.testing.assert_allclose(field.delta[6:, 2], np.tile(OFFSET * (-1, 1), (3, 1)), atol=1e-4)
    np.testing.assert_allclose(field.delta[5, 2], turn(5) @ OFFSET, atol=1e-4)
    assert propagate(round_about, edit, mirror="never").delta[6, 2, 0] > -3


def test_points_on_a_line_are_not_called_mirrored() -> None:
    random = np.random.default_rng(1)
    line = np.linspace(0, 40, 5) + 0j
    places = line + random.normal(0, 0.3, (50, 5)) + 1j * random.normal(0, 0.3, (50, 5))
    places[0] = line
    assert not fit_turns(places, np.ones((50, 5), bool), 0, mirror=True).mirrored.any()


def test_many_points_are_fitted_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = propagate(TURNING, dragged(TURNING, "tail"))
    monkeypatch.setattr("vswap_canonical.turns._PAIRS", 60)
    np.testing.assert_array_equal(propagate(TURNING, dragged(TURNING, "tail")).delta, whole.delta)


def test_an_unknown_point_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no point 'tale'; did you mean 'tail'\? Also known: eye, foot, nose, top"):
        propagate(TURNING, PointEdit(0, {"tale": (1.0, 2.0)}))


@pytest.mark.parametrize("frame", [FRAMES, -1])
def test_a_frame_beyond_the_end_is_refused(frame: int) -> None:
    with pytest.raises(InputError, match="beyond the end, the tracks have 9 frames"):
        propagate(TURNING, PointEdit(frame, {"nose": (1.0, 2.0)}))


def test_fit_leaves_something_to_keep(tmp_path: Path) -> None:
    video = Video(np.zeros((FRAMES, 48, 64, 3), np.uint8), 25.0)
    Similarity(SimilarityOptions(), Context(tmp_path)).fit(video, None, TURNING, tmp_path)
    assert [file.stat().st_size < 200 for file in tmp_path.iterdir()] == [True]


def test_on_exact_drags_of_the_toybox_it_is_much_nearer_than_keyframe() -> None:
    error: dict[str, list[float]] = {"similarity": [], "keyframe": []}
    for index in range(4):
        clip = suite_clip("toybox/shape-change", 1, index, (64, 64))
        places = moves("toybox/shape-change", clip)
        edit, exact = PointEdit(clip.keyframe, places), drag(clip, places).delta
        plain = Keyframe(NoOptions(), Context(Path())).propagate(Path(), clip.tracks, edit)
        for name, field in (("similarity", propagate(clip.tracks, edit)), ("keyframe", plain)):
            error[name] += np.linalg.norm(field.delta - exact, axis=-1)[clip.tracks.visible].tolist()
    assert np.mean(error["similarity"]) < 0.5 * np.mean(error["keyframe"])
