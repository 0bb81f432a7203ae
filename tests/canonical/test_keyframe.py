from pathlib import Path

import numpy as np
import pytest

from vswap_canonical.keyframe import Keyframe
from vswap_kernel.api import Context, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.types import PointEdit, PointTracks, Video

NAMES = ("nose", "tail", "top")


@pytest.fixture
def tracks() -> PointTracks:
    random = np.random.default_rng(0)
    visible = random.random((5, 3)) > 0.4
    xy = random.uniform(0, 60, (5, 3, 2)).astype(np.float32)
    return PointTracks(NAMES, xy, visible, visible.astype(np.float32), (64, 48))


@pytest.fixture
def canonical(tmp_path: Path) -> Keyframe:
    return Keyframe(NoOptions(), Context(tmp_path))


def test_a_move_is_the_same_in_every_frame_and_zero_for_other_points(
    canonical: Keyframe, tracks: PointTracks, tmp_path: Path
) -> None:
    x, y = tracks.xy[2, 1].tolist()
    field = canonical.propagate(tmp_path, tracks, PointEdit(2, {"tail": (x + 7, y - 3)}))
    assert field.names == NAMES
    np.testing.assert_allclose(field.delta[:, 1], np.tile([7, -3], (5, 1)), atol=1e-4)
    assert not field.delta[:, [0, 2]].any()


def test_a_displacement_is_valid_where_the_point_is_visible(
    canonical: Keyframe, tracks: PointTracks, tmp_path: Path
) -> None:
    field = canonical.propagate(tmp_path, tracks, PointEdit(1, {"top": (1.0, 2.0)}))
    np.testing.assert_array_equal(field.valid, tracks.visible)
    assert not np.shares_memory(field.valid, tracks.visible)


def test_no_move_displaces_nothing(canonical: Keyframe, tracks: PointTracks, tmp_path: Path) -> None:
    assert not canonical.propagate(tmp_path, tracks, PointEdit()).delta.any()


def test_an_unknown_point_is_named_with_the_known_ones(
    canonical: Keyframe, tracks: PointTracks, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no point 'tale'; did you mean 'tail'\? Also known: nose, top"):
        canonical.propagate(tmp_path, tracks, PointEdit(0, {"tale": (1.0, 2.0)}))


@pytest.mark.parametrize("frame", [5, -1])
def test_a_keyframe_beyond_the_end_is_refused(
    canonical: Keyframe, tracks: PointTracks, tmp_path: Path, frame: int
) -> None:
    with pytest.raises(InputError, match="beyond the end, the tracks have 5 frames"):
        canonical.propagate(tmp_path, tracks, PointEdit(frame, {"nose": (1.0, 2.0)}))


def test_fit_leaves_something_to_keep(canonical: Keyframe, tracks: PointTracks, tmp_path: Path) -> None:
    out = tmp_path / "fitted"
    out.mkdir()
    canonical.fit(Video(np.zeros((5, 48, 64, 3), np.uint8), 25.0), None, tracks, out)
    assert [file.stat().st_size < 200 for file in out.iterdir()] == [True]
