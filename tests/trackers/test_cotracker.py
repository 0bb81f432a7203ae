"""Against a small package of the recorded signatures (tests/plugins/small_cotracker.py), not CoTracker itself."""

from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from small_cotracker import checkout
from tiny_onnx import spot_video
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError, MissingExtraError
from vswap_kernel.testing.running import discover
from vswap_kernel.types import FloatArray, PointQueries, PointTracks
from vswap_trackers.cotracker import CoTracker
from vswap_trackers.cotracker_package import preflight, tell_licence
from vswap_trackers.options_models import CoTrackerOptions

FACTS = Facts(8, (64, 48), ("a",))


def path(frames: int) -> Any:
    return np.array([(10 + t % 40, 8 + t % 30) for t in range(frames)])


def asked(*points: tuple[int, float, float]) -> PointQueries:
    frame, xy = np.array([p[0] for p in points], np.int32), np.array([p[1:] for p in points], np.float32)
    return PointQueries(tuple(f"p{i}" for i in range(len(points))), frame, xy.reshape(-1, 2))


POINTS = asked((0, 12.25, 9.5), (20, 30.0, 20.0), (7, 30.0, 18.0))


def truth(frames: int, queries: PointQueries) -> FloatArray:
    return np.asarray(queries.xy + path(frames)[:, None] - path(frames)[queries.frame], np.float32)


def weights(folder: Path, gain: float = 1.0) -> Path:
    torch.save({"gain": torch.tensor(gain)}, folder / "scaled.pth")
    return folder / "scaled.pth"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in as if it were installed."""
    monkeypatch.syspath_prepend(str(checkout(tmp_path / "site")))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "cotracker"]:
        del sys.modules[name]


def track(folder: Path, frames: int, queries: PointQueries, hidden: Any = (), **options: Any) -> PointTracks:
    values = CoTrackerOptions.model_validate({"weights": weights(folder), **options})
    return CoTracker(values, Context(folder)).track(spot_video(path(frames), hidden=hidden), queries)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("frames", [21, 22, 30])
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_points_are_tracked_to_both_ends_in_clips_of_any_length(mode: str, frames: int, tmp_path: Path) -> None:
    found = track(tmp_path, frames, POINTS, mode=mode)
    np.testing.assert_allclose(found.xy, truth(frames, POINTS), atol=1e-4)
    assert found.visible.all()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("frames", [2, 5, 8, 9, 16])
def test_online_clips_shorter_than_a_chunk_are_filled_up(frames: int, tmp_path: Path) -> None:
    queries = asked((0, 12.0, 9.0), (frames - 1, 14.0, 10.0))
    found = track(tmp_path, frames, queries, mode="online")
    np.testing.assert_allclose(found.xy, truth(frames, queries), atol=1e-4)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_hidden_frames_are_hidden_and_points_come_back_in_a_later_window(mode: str, tmp_path: Path) -> None:
    hidden = range(6, 12)
    found = track(tmp_path, 30, asked((0, 12.0, 9.0)), hidden, mode=mode, window=10, overlap=3, revisit=2)
    seen = [t not in hidden for t in range(30)]
    assert found.visible[:, 0].tolist() == seen
    np.testing.assert_allclose(found.xy[seen, 0], truth(30, asked((0, 12.0, 9.0)))[seen, 0], atol=1e-4)


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_checkout_of_the_repository_does_without_the_package(mode: str, tmp_path: Path) -> None:
    found = track(tmp_path, 21, POINTS, mode=mode, repository=checkout(tmp_path / "co-tracker"))
    np.testing.assert_allclose(found.xy, truth(21, POINTS), atol=1e-4)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cotracker"]:
        del sys.modules[name]


def test_without_package_and_checkout_the_user_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"isn't on PyPI; run: pip install git\+https://github\.com/facebook"):
        preflight(CoTrackerOptions(weights=weights(tmp_path)), FACTS)
    with pytest.raises(InputError, match=r"no hubconf\.py there"):
        preflight(CoTrackerOptions(weights=weights(tmp_path), repository=tmp_path), FACTS)


@pytest.mark.usefixtures("installed")
def test_weights_of_something_else_are_told(tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: not the weights of CoTracker 3 offline .*see the option mode"):
        track(tmp_path, 4, asked((0, 1.0, 1.0)), weights=tmp_path / "other.pth")


class Surprise:
    def __reduce__(self) -> Any:
        return print, ("code was run",)


@pytest.mark.usefixtures("installed")
def test_code_in_the_weights_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Surprise()))
    torch.save({"gain": Surprise()}, tmp_path / "worse.pth")
    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(InputError, match=name):
            track(tmp_path, 4, asked((0, 1.0, 1.0)), weights=tmp_path / name)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("installed")
def test_the_licence_is_told_once_a_run_and_in_the_spec(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tell_licence.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            track(tmp_path, 4, asked((0, 1.0, 1.0)))
    assert [record.message for record in caplog.records] == [
        "tracker cotracker: CoTracker's code and weights are under CC-BY-NC 4.0: no commercial use"
    ]
    assert "CC-BY-NC-4.0" in discover().get("tracker", "cotracker").spec.licence
