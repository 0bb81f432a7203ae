import numpy as np
import pytest

from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, FloatArray, PointQueries, PointTracks, Video
from vswap_trackers.windows import Windows, in_groups, track_in_windows

STEP = np.array([2.0, 1.0], np.float32)


class NumberedFrames:
    """A causal model for videos whose frames hold their number as their colour: points move by `STEP` a frame.

    It sees nothing in the frames `hidden`, and loses what it was asked to follow from one of them: it then answers that
    the point stands still where it was asked, and is visible.
    """

    def __init__(self, hidden: tuple[int, ...] = ()) -> None:
        self.hidden = hidden
        self.calls: list[list[int]] = []

    def __call__(self, frames: ByteArray, queries: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        number = frames[:, 0, 0, 0].astype(int)
        self.calls.append(number.tolist())
        start = number[queries[:, 0].astype(int)]
        moved = (number[:, None] - start)[..., None] * STEP
        lost = np.isin(start, self.hidden)
        xy = queries[:, 1:] + np.where(lost[:, None], np.float32(0), moved)
        seen = ~np.isin(number, self.hidden)[:, None] | lost
        before = np.arange(len(frames))[:, None] < queries[:, 0]
        # a causal model knows nothing of the frames before a query
        xy = np.where(before[..., None], np.float32(-999), xy)
        return xy.astype(np.float32), np.where(seen & ~before, 0.9, 0.1).astype(np.float32)


def numbered(frames: int, size: tuple[int, int] = (120, 80)) -> Video:
    numbers = np.arange(frames, dtype=np.uint8)
    return Video(np.broadcast_to(numbers[:, None, None, None], (frames, *size[::-1], 3)).copy(), 25.0)


def asked(frames: list[int], xy: tuple[float, float] = (40.0, 30.0)) -> PointQueries:
    names = tuple(f"p{i}" for i in range(len(frames)))
    return PointQueries(names, np.array(frames, np.int32), np.tile(np.array(xy, np.float32), (len(frames), 1)))


def run(model: NumberedFrames, frames: int, queries: PointQueries, windows: Windows) -> PointTracks:
    return track_in_windows(numbered(frames), queries, model, windows, lambda *_: None)


def truth(frames: int, queries: PointQueries) -> FloatArray:
    since = np.arange(frames)[:, None] - queries.frame
    return np.asarray(queries.xy + since[..., None] * STEP, np.float32)


@pytest.mark.parametrize("length", [None, 6, 7, 30])
def test_points_of_any_keyframe_are_tracked_to_both_ends(length: int | None) -> None:
    queries = asked([0, 9, 19, 9, 3])
    found = run(NumberedFrames(), 20, queries, Windows(length, 2, 1, 0.5))
    np.testing.assert_allclose(found.xy, truth(20, queries))
    every = np.arange(5)
    assert found.visible.all()
    np.testing.assert_array_equal(found.confidence[queries.frame, every], 1.0)


def test_windows_are_no_longer_than_asked_overlap_and_are_of_like_length() -> None:
    model = NumberedFrames()
    run(model, 23, asked([0]), Windows(10, 3, 2, 0.5))
    assert [(call[0], call[-1] + 1) for call in model.calls] == [(0, 10), (7, 17), (14, 23)]


def test_reversed_windows_are_only_run_for_points_with_frames_before_their_keyframe() -> None:
    model = NumberedFrames()
    run(model, 12, asked([4, 0]), Windows(None, 1, 0, 0.5))
    assert model.calls == [list(range(12)), [4, 3, 2, 1, 0]]


def test_a_point_hidden_throughout_an_overlap_is_found_again_from_where_it_was_last_seen() -> None:
    model = NumberedFrames(hidden=(5, 6, 7, 8, 9, 10))
    queries = asked([0])
    found = run(model, 20, queries, Windows(10, 3, 2, 0.5))
    np.testing.assert_allclose(found.xy, truth(20, queries))
    assert found.visible[:, 0].tolist() == [t not in model.hidden for t in range(20)]
    assert model.calls[1][:2] == [4, 6]


def test_without_frames_shown_again_a_lost_point_is_not_called_visible_on_a_guess() -> None:
    model = NumberedFrames(hidden=(6, 7, 8, 9, 10))
    found = run(model, 20, asked([0]), Windows(10, 3, 0, 0.5))
    assert found.visible[:, 0].tolist() == [True] * 6 + [False] * 14
    assert np.isfinite(found.xy).all()


def test_places_out_of_the_frame_are_not_visible_nor_started_from() -> None:
    queries = asked([0], (110.0, 20.0))
    found = run(NumberedFrames(), 20, queries, Windows(8, 3, 1, 0.5))
    np.testing.assert_allclose(found.xy, truth(20, queries))
    assert found.visible[:, 0].tolist() == [True] * 5 + [False] * 15


def test_no_points_and_one_frame_ask_no_model() -> None:
    model = NumberedFrames()
    assert run(model, 5, asked([]), Windows(8, 3, 1, 0.5)).xy.shape == (5, 0, 2)
    assert run(model, 1, asked([0]), Windows(8, 3, 1, 0.5)).visible.all()
    assert not model.calls


def test_a_keyframe_beyond_the_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"point 'p1': keyframe 5 is beyond the end; the video has 5 frames"):
        run(NumberedFrames(), 5, asked([0, 5]), Windows(8, 3, 1, 0.5))


def test_groups_are_filled_up_and_put_together_in_order() -> None:
    sizes = []

    def track(queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        sizes.append(len(queries))
        return np.repeat(queries[None, :, 1:], 3, axis=0), np.repeat(queries[None, :, 0], 3, axis=0)

    queries = np.arange(21, dtype=np.float32).reshape(7, 3)
    places, likelihood = in_groups(4, track, queries)
    assert sizes == [4, 4]
    np.testing.assert_array_equal(places[1], queries[:, 1:])
    np.testing.assert_array_equal(likelihood[2], queries[:, 0])
