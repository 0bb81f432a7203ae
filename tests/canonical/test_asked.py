from __future__ import annotations

import numpy as np
import pytest

from vswap_canonical.asked import asked_moves
from vswap_kernel.errors import InputError
from vswap_kernel.types import PointEdit, PointTracks


def tracks_seen(*frames: int) -> PointTracks:
    """Point "nose", seen in some of ten frames, and "tail", seen in all."""
    visible = np.ones((10, 2), bool)
    visible[:, 0] = np.isin(np.arange(10), frames)
    return PointTracks(
        ("nose", "tail"), np.full((10, 2, 2), 5, np.float32), visible, visible.astype(np.float32), (32, 24)
    )


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ((0, 1, 2, 5, 8, 9), r"it is seen in frames 0-2, 5, 8-9: move it on one of those \(edit\.frame\)"),
        ((4,), "it is seen in frame 4: move"),
        ((), "it is seen in no frame"),
    ],
)
def test_a_point_that_is_hidden_where_it_is_moved_is_refused_with_the_frames_that_show_it(
    frames: tuple[int, ...], words: str
) -> None:
    with pytest.raises(InputError, match=rf"edit\.move: point 'nose' is hidden on frame 3, where it is moved; {words}"):
        asked_moves(tracks_seen(*frames), PointEdit(3, {"tail": (1.0, 1.0), "nose": (7.0, 4.0)}))


def test_hidden_points_that_stay_do_not_matter() -> None:
    moved, offset = asked_moves(tracks_seen(), PointEdit(3, {"tail": (7.0, 4.0)}))
    assert moved.tolist() == [1]
    np.testing.assert_array_equal(offset, [[2, -1]])
