"""Drags on several keyframes, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vswap_kernel.drags import blend_fields, keyframe_weights
from vswap_kernel.types import DisplacementField, PointEdit

NAMES = ("nose", "tail", "fin")
FRAMES = 11


def field(*deltas: tuple[float, float], valid: object = True) -> DisplacementField:
    """The displacement of each of NAMES, the same in every frame; none for those that `deltas` leaves out."""
    delta = np.zeros((FRAMES, len(NAMES), 2), np.float32)
    delta[:, : len(deltas)] = deltas
    return DisplacementField(NAMES, delta, np.broadcast_to(valid, delta.shape[:2]).copy())


def edit(frame: int, *names: str) -> PointEdit:
    return PointEdit(frame, dict.fromkeys(names, (0.0, 0.0)))


def test_between_two_keyframes_a_point_goes_linearly_and_outside_them_it_stays() -> None:
    blended = blend_fields([field((8, 0)), field((0, -4))], [edit(2, "nose"), edit(6, "nose")])
    expected = [(8, 0)] * 3 + [(6, -1), (4, -2), (2, -3)] + [(0, -4)] * 5
    np.testing.assert_array_equal(blended.delta[:, 0], np.float32(expected))
    assert blended.delta.dtype == np.float32


def test_each_point_has_keyframes_of_its_own() -> None:
    fields = [field((8, 0), (1, 1)), field((0, 0), (3, 1)), field((0, 4))]
    edits = [edit(0, "nose", "tail"), edit(4, "tail"), edit(8, "nose")]
    blended = blend_fields(fields, edits)
    np.testing.assert_array_equal(blended.delta[:9, 0], np.float32([(8 - t, t / 2) for t in range(9)]))
    np.testing.assert_array_equal(blended.delta[:, 1], np.float32([(1 + min(t, 4) / 2, 1) for t in range(FRAMES)]))


def test_a_point_moved_on_one_keyframe_only_has_that_field_everywhere() -> None:
    fields = [field((8, 0)), field((0, 0), (2, 5))]
    blended = blend_fields(fields, [edit(2, "nose"), edit(6, "tail")])
    np.testing.assert_array_equal(blended.delta, field((8, 0), (2, 5)).delta)


def test_on_its_keyframes_a_point_is_where_it_was_asked_whatever_the_fields_are_elsewhere() -> None:
    random = np.random.default_rng(0)
    keyframes = (0, 3, 7, 10)
    wild = [random.normal(0, 100, (FRAMES, 3, 2)).astype(np.float32) for _ in keyframes]
    seen = np.ones((FRAMES, 3), np.bool_)
    fields = [DisplacementField(NAMES, delta, seen) for delta in wild]
    blended = blend_fields(fields, [edit(frame, *NAMES) for frame in keyframes])
    for frame, delta in zip(keyframes, wild, strict=True):
        np.testing.assert_array_equal(blended.delta[frame], delta[frame])


def test_the_order_in_which_keyframes_are_listed_changes_nothing() -> None:
    fields, edits = [field((8, 0)), field((0, -4)), field((1, 9))], [edit(2, "nose"), edit(6, "nose"), edit(9, "nose")]
    one, other = blend_fields(fields, edits), blend_fields(fields[::-1], edits[::-1])
    np.testing.assert_array_equal(one.delta, other.delta)


def test_a_point_is_valid_where_every_field_that_counts_there_is() -> None:
    time = np.arange(FRAMES)[:, None]
    early, late = field((8, 0), valid=time < 5), field((0, 4), valid=time > 3)
    blended = blend_fields([early, late], [edit(2, "nose", "tail"), edit(6, "nose")])
    np.testing.assert_array_equal(np.flatnonzero(blended.valid[:, 0]), [0, 1, 2, 4, 6, 7, 8, 9, 10])
    np.testing.assert_array_equal(blended.valid[:, 1], early.valid[:, 1])  # moved on the first keyframe alone
    np.testing.assert_array_equal(blended.valid[:, 2], blended.valid[:, 0])  # moved on none: both fields count
    assert not blended.delta[:, 2].any()


@pytest.mark.parametrize("keyframe", [0, 4, FRAMES - 1])
def test_one_keyframe_gives_the_field_as_it_is(keyframe: int) -> None:
    random = np.random.default_rng(1)
    delta, valid = random.normal(0, 9, (FRAMES, 3, 2)).astype(np.float32), random.random((FRAMES, 3)) < 0.5
    blended = blend_fields([DisplacementField(NAMES, delta, valid)], [edit(keyframe, "tail")])
    assert blended.delta.tobytes() == delta.tobytes()
    assert blended.valid.tobytes() == valid.tobytes()


def test_the_weights_of_a_points_keyframes_sum_to_one() -> None:
    random = np.random.default_rng(2)
    frames, moved = random.permutation(40)[:7], random.random((7, 30)) < 0.4
    moved[0] |= ~moved.any(0)
    weights = keyframe_weights(frames, moved, 40)
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-12)
    assert not weights.transpose(0, 2, 1)[~moved].any()
    assert ((weights > 0).sum(0) <= 2).all()


def test_no_points_are_no_error() -> None:
    none = DisplacementField((), np.zeros((FRAMES, 0, 2), np.float32), np.zeros((FRAMES, 0), np.bool_))
    assert blend_fields([none, none], [edit(0), edit(3)]).delta.shape == (FRAMES, 0, 2)
