from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import known_trackers as known
from vswap_kernel.config import Chosen
from vswap_kernel.errors import InputError
from vswap_kernel.pictures import read_image
from vswap_kernel.registry import Component
from vswap_trackers.evaluation import running
from vswap_trackers.evaluation.clips import Clip, Loaded
from vswap_trackers.evaluation.command import _parse_size
from vswap_trackers.evaluation.contenders import Contender
from vswap_trackers.evaluation.running import DETAILS, FIGURES, Evaluation, Row, Step, evaluate
from vswap_trackers.evaluation.tables import write_results
from vswap_trackers.evaluation.truth import Truth

FRAMES, SIZE = 6, (64, 48)


def moving(step: float = 2.0, name: str = "clip", sparse: bool = False) -> Clip:
    """Four points that all move by `step` pixels a frame to the right, on noise."""

    def load() -> Loaded:
        frames = np.random.default_rng(1).integers(0, 255, (FRAMES, SIZE[1], SIZE[0], 3), np.uint8)
        start = np.array([[10, 10], [20, 15], [30, 20], [25, 30]], np.float32)
        xy = start + np.arange(FRAMES, dtype=np.float32)[:, None, None] * np.array([step, 0], np.float32)
        known = np.ones((FRAMES, 4), bool)
        known[1::2] = not sparse
        areas = np.full(FRAMES, 400.0) if sparse else None
        return Loaded(iter([frames[:4], frames[4:]]), Truth(tuple("abcd"), xy, known.copy(), known, SIZE, areas), 24.0)

    return Clip(name, True, load)


def asked(out: Path, *contenders: Contender, clips: tuple[Clip, ...] = (moving(),), mode: str = "first") -> Evaluation:
    return Evaluation(out / "data", clips, contenders, mode, out)


def run(job: Evaluation, tell: Callable[[Step], None] = lambda step: None) -> dict[str, dict[str, Row]]:
    return evaluate(job, tell)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_right_tracks_score_one_and_still_ones_what_is_worked_out_by_hand(out: Path):
    right, still = known.contender(title="right", shift=(2.0, 0.0)), known.contender(title="still")
    rows = run(asked(out, right, still))
    assert [rows["right"]["clip"][name] for name in ("aj", "delta_avg", "oa")] == [1.0, 1.0, 1.0]
    row = rows["still"]["clip"]
    # after k frames a still point is 2 k pixels off, 8 k of 256 (the clip is 64 wide), and none is under 8
    assert [row[f"delta@{t}"] for t in (1, 2, 4, 8, 16)] == [0, 0, 0, 0, 0.2]
    assert row["delta_avg"] == 0.04
    assert row["oa"] == 1.0
    assert row["pck@0.2"] is None
    assert (row["points"], row["frames"], row["error"]) == (4, FRAMES, None)
    assert row["points_frames_per_s"] > 0
    assert read_image(out / row["overlay"]).shape[1] > 4 * 320


def test_joints_are_judged_by_the_mask_and_not_for_visibility(out: Path):
    rows = run(asked(out, known.contender(), clips=(moving(sparse=True),)))
    row = rows["StillTracker"]["clip"]
    # frames 2 and 4 are known: 4 and 8 pixels off, for a reach of 2 and 4
    assert (row["pck@0.1"], row["pck@0.2"]) == (0.0, 0.5)
    assert (row["aj"], row["oa"]) == (None, None)
    assert row["delta_avg"] is not None


def test_strided_asks_more_and_judges_both_directions(out: Path):
    row = run(asked(out, known.contender(shift=(2.0, 0.0)), mode="strided"))["StillTracker"]["clip"]
    assert row["points"] == 8
    assert row["aj"] == 1.0


def test_at_another_size_tracks_are_judged_where_they_are_in_the_clip(out: Path):
    job = replace(asked(out, known.contender(shift=(4.0, 0.0))), size=(128, 24))  # twice as wide, half as high
    row = run(job)["StillTracker"]["clip"]
    assert (row["aj"], row["delta@1"], row["error"]) == (1.0, 1.0, None)
    own = run(replace(job, size=None))["StillTracker"]["clip"]
    assert own["delta@1"] == 0.0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("Failing", "RuntimeError: no luck"),
        ("Crashing", "killed by signal 9"),
        ("Forgetful", "returned 3 points"),
        ("Unmakeable", "OSError: weights: not downloaded"),
    ],
)
def test_a_tracker_that_fails_is_a_row_and_not_the_end(name: str, error: str, out: Path):
    told: list[Step] = []
    rows = run(asked(out, known.contender(name), known.contender()), told.append)
    assert error in rows[name]["clip"]["error"]
    assert {rows[name]["clip"][figure] for figure in (*FIGURES, *DETAILS)} == {None}
    assert rows["StillTracker"]["clip"]["error"] is None
    assert (told[-1].done, told[-1].total) == (2, 2)


def test_one_that_nobody_asked_for_and_can_not_be_made_is_left_out_with_a_line(out: Path):
    told: list[Step] = []
    clips = (moving(name="a"), moving(name="b"))
    job = asked(out, known.contender("Unmakeable", asked_for=False), known.contender(asked_for=False), clips=clips)
    rows = run(job, told.append)
    assert list(rows) == ["StillTracker"]
    assert [step.note for step in told if step.note] == ["Unmakeable: OSError: weights: not downloaded"]
    assert (told[-1].done, told[-1].total) == (2, 2)
    failing = asked(out, known.contender("Failing", asked_for=False))
    assert "no luck" in run(failing)["Failing"]["clip"]["error"]


def test_memory_is_the_tracker_s_own(out: Path):
    held = np.ones(300_000_000, np.uint8)  # the parent's does not count, though processes inherit its peak
    rows = run(asked(out, known.contender(title="large", megabytes=120), known.contender(title="small")))
    assert held.all()
    if not Path("/proc/self/clear_refs").exists():
        assert rows["large"]["clip"]["peak_mb"] is None
        return
    assert 110 < rows["large"]["clip"]["peak_mb"] < 180
    assert rows["small"]["clip"]["peak_mb"] < 60


def test_what_it_is_lent_is_made_from_the_registry_s_components(out: Path):
    tracker = Chosen(Component("tracker", known.spec("Borrowing", accepts={"backbone": ()}), "test", "1"), STILL)
    backbone = Chosen(Component("backbone", known.spec("Lent"), "test", "1"), known.StillOptions(shift=(2.0, 0.0)))
    rows = run(asked(out, Contender("pair", {"tracker": tracker, "backbone": backbone})))
    assert rows["pair"]["clip"]["error"] is None
    assert rows["pair"]["clip"]["aj"] == 1.0


STILL = known.StillOptions()


def test_an_interrupted_one_goes_on_and_the_results_are_the_same(out: Path, monkeypatch: pytest.MonkeyPatch):
    clips = (moving(name="a"), moving(1.0, name="b"))
    job = asked(out, known.contender(shift=(2.0, 0.0)), clips=clips)

    def interrupt(step: Step) -> None:
        if step.row:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, interrupt)
    measured: list[object] = []
    real = running.measure
    monkeypatch.setattr(running, "measure", lambda trial, progress: measured.append(trial) or real(trial, progress))
    rows = run(job)
    assert len(measured) == 1
    assert list(rows["StillTracker"]) == ["a", "b"]
    assert run(job) == rows
    assert len(measured) == 1
    assert not (out / "scratch").exists()
    run(replace(job, mode="strided"))
    run(asked(out, known.contender(shift=(1.0, 0.0)), clips=clips))
    run(asked(out, known.contender(shift=(2.0, 0.0)), clips=(moving(3.0, name="a"),)))
    assert len(measured) == 6  # another mode, other options, another truth


def timeless(rows: dict[str, dict[str, Row]]) -> list[dict[str, object]]:
    measured = ("seconds", "points_frames_per_s", "peak_mb")
    return [{k: v for k, v in row.items() if k not in measured} for clips in rows.values() for row in clips.values()]


def test_a_repeated_one_gives_the_same_figures_and_pictures(tmp_path: Path):
    first, second = (run(asked(tmp_path / name, known.contender())) for name in "ab")
    assert timeless(first) == timeless(second)
    overlay = first["StillTracker"]["clip"]["overlay"]
    assert (tmp_path / "a" / overlay).read_bytes() == (tmp_path / "b" / overlay).read_bytes()


def test_files_of_the_results(out: Path):
    clips = (moving(name="<b>a</b>/.."), moving(name="joints", sparse=True))
    job = asked(out, known.contender(), known.contender("Failing"), clips=clips)
    data = write_results(job, run(job))
    assert json.loads((out / "results.json").read_text()) == data
    assert list(data) == ["trackers"]
    still = data["trackers"]["StillTracker"]
    assert list(still) == ["mean", "clips"]
    assert all(list(row) == list(FIGURES) for row in (still["mean"], *still["clips"].values()))
    assert still["mean"]["oa"] == 1.0  # of the one clip where it is defined
    assert set(data["trackers"]["Failing"]["mean"].values()) == {None}
    lines = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(line["tracker"], line["clip"]) for line in lines[:2]] == [("StillTracker", clip.name) for clip in clips]
    assert lines[0]["pck@0.1"] == ""
    assert "no luck" in lines[2]["error"]
    page = (out / "index.html").read_text()
    assert "<b>a</b>" not in page
    assert "no luck" in page
    assert page.count("<img") == 2
    assert {path.parent for path in out.rglob("*.png")} == {out / "rows"}


def test_an_out_folder_that_can_not_be_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"):
        run(asked(tmp_path / "file", known.contender()))


def vswap(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vswap_kernel.cli", *map(str, arguments)]


def test_the_command_prints_json_alone_and_says_what_it_leaves_out(shared: Path, tmp_path: Path):
    pytest.importorskip("cv2")
    data = ("--data", shared / "clips" / "bear", "--trackers", "lucas-kanade", "--out", tmp_path)
    ran = subprocess.run(vswap("eval", "trackers", *data, "--json"), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    row = json.loads(ran.stdout)["trackers"]["lucas-kanade"]["clips"]["bear"]
    assert 0.5 < row["pck@0.2"] <= 1.0
    assert row["aj"] is None
    assert not ran.stderr
    bad = subprocess.run(vswap("eval", "trackers", "--data", tmp_path / "no"), capture_output=True, text=True)
    assert bad.returncode == 2
    assert "no such file or folder" in bad.stderr
    assert "Traceback" not in bad.stderr
    with pytest.raises(InputError, match="--size 9: expected WIDTHxHEIGHT"):
        _parse_size("9")


def test_what_a_tracker_prints_stays_out_of_stdout(out: Path, capfd: pytest.CaptureFixture[str]):
    run(asked(out, known.contender(prints="loud")))
    captured = capfd.readouterr()
    assert "loud" not in captured.out


SLOW = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {plugins!r}]
import known_trackers as known
from test_evaluation_running import asked, run
if __name__ == "__main__":
    run(asked(Path({out!r}), known.contender(wait=60.0)), lambda step: print(step.done, flush=True))
"""


def test_a_killed_evaluation_takes_its_tracker_along(out: Path, tmp_path: Path):
    script = tmp_path / "slow.py"
    plugins = str(Path(known.__file__).parent)
    script.write_text(SLOW.format(tests=str(Path(__file__).parent), plugins=plugins, out=str(out)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        while float(process.stdout.readline() or "1") < 0.5:  # the tracker has told its progress
            pass
        (child,) = children(process.pid)
        process.kill()
    for _ in range(100):
        if not alive(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the tracker's process is still there")


def children(pid: int) -> list[int]:
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc here")
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
