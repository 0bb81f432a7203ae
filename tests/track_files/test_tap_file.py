from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vswap_kernel.errors import InputError
from vswap_kernel.types import PointEmbeddings, PointTracks
from vswap_track_files.tap_file import read_tap, write_tap

XY = np.array([[[3.0, 4.0], [-1.0, 7.0]], [[5.5, 6.0], [90.0, 2.0]]], np.float32)


def saved(path: Path, **changes: Any) -> Path:
    data = {
        "pred_tracks": torch.from_numpy(XY),
        "point_name2id": {"tail": 1, "nose": 0},
        "point_embedding": torch.arange(6.0).reshape(2, 3),
    }
    torch.save({key: value for key, value in (data | changes).items() if value is not None}, path)
    return path


def test_names_follow_their_numbers_and_negative_means_hidden(tmp_path: Path) -> None:
    tap = read_tap(saved(tmp_path / "TAP.pth"))
    tracks = tap.tracks((64, 48))
    assert tracks.names == ("nose", "tail")
    assert tracks.visible.tolist() == [[True, False], [True, True]]
    np.testing.assert_array_equal(tracks.xy, XY)
    embeddings = tap.embeddings("dift:tiny")
    assert embeddings is not None
    assert embeddings.support.tolist() == [2, 1]
    assert embeddings.vectors.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_file_without_embeddings_has_none(tmp_path: Path) -> None:
    assert read_tap(saved(tmp_path / "TAP.pth", point_embedding=None)).embeddings() is None


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    xy = np.array([[[-0.4, 4.0], [9.0, 7.0]], [[5.5, 6.0], [3.0, 2.0]]], np.float32)
    seen = np.array([[True, True], [True, False]])
    tracks = PointTracks(("a", "b"), xy, seen, seen.astype(np.float32), (64, 48))
    keep = np.array([[True, False], [True, True]])
    embeddings = PointEmbeddings(("a", "b"), np.ones((2, 3), np.float32), keep.sum(0).astype(np.int32), keep, "dift")
    write_tap(tmp_path / "TAP.pth", tracks, embeddings)
    tap = read_tap(tmp_path / "TAP.pth")
    assert tap.names == ("a", "b")
    assert tap.xy.tolist() == [[[0, 4], [-1, -1]], [[5.5, 6], [-1, -1]]]
    np.testing.assert_array_equal(tap.vectors, embeddings.vectors)
    with pytest.raises(InputError, match="other points"):
        write_tap(tmp_path / "TAP.pth", tracks.subset(["a"]), embeddings)


class Surprise:
    def __reduce__(self) -> Any:
        return print, ("code was run",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "TAP.pth", point_embedding=Surprise())
    with pytest.raises(InputError, match="holds code"):
        read_tap(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_tracks": None}, "pred_tracks: expected a tensor of 3 dimensions, got NoneType"),
        ({"pred_tracks": torch.zeros(2, 2, 3)}, r"expected \[frames, points, 2\], got \[2, 2, 3\]"),
        ({"pred_tracks": torch.full((2, 2, 2), float("nan"))}, "not finite"),
        ({"point_name2id": {"nose": 0, "tail": 2}}, "numbers 0 to 1"),
        ({"point_name2id": None}, "numbers 0 to 1"),
        ({"point_embedding": torch.zeros(3, 5)}, "3 vectors for 2 points"),
    ],
)
def test_fields_that_do_not_fit_are_told(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tap(saved(tmp_path / "TAP.pth", **changes))


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_tap(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pth: "):
        read_tap(tmp_path / "text.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match=r"old\.pth: "):
        read_tap(tmp_path / "old.pth")
