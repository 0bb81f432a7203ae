"""Whatever happens to a run, the next one ends with the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import COMMAND, Vswap

KILLS = int(os.environ.get("VSWAP_KILLS", "3"))
"""How many moments to try; each costs two runs. The figure in the notes comes from 20."""


def content(run: Path) -> dict[str, str]:
    """What a run leaves, but for events.jsonl, which tells times; and the content of every stage."""
    files = {path.name: path for path in run.iterdir() if path.is_file() and path.name != "events.jsonl"}
    for link in (run / "stages").iterdir():
        stored = link.resolve()
        files |= {f"{link.name}/{path.relative_to(stored)}": path for path in stored.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def start(job: Path, out: Path, store: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [*COMMAND, "run", str(job), "--out", str(out), "--store", str(store), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def assert_kills_change_nothing(job: Path, tmp_path: Path, kills: int, earliest: float) -> None:
    """Run `job`, then kill it at moments from a share of its time on, and run it again: the bytes are the same."""
    began = time.perf_counter()
    assert start(job, tmp_path / "run", tmp_path / "whole").wait() == 0
    took = time.perf_counter() - began
    expected = content(tmp_path / "run")
    moments = random.Random(5)
    for kill in range(kills):
        store = tmp_path / f"store{kill}"
        process = start(job, tmp_path / "run", store)
        time.sleep(moments.uniform(earliest, 1.0) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert start(job, tmp_path / "run", store).wait() == 0
        assert content(tmp_path / "run") == expected
        assert [*(store / "tmp").iterdir(), *(store / "scratch").iterdir()] == []


def test_a_run_killed_at_any_moment_is_finished_by_the_next_with_the_same_bytes(job: Path, tmp_path: Path) -> None:
    assert_kills_change_nothing(job, tmp_path, KILLS, earliest=0.2)


def test_two_runs_at_once_on_one_store_do_not_disturb_each_other(job: Path, tmp_path: Path) -> None:
    changed = ["--set", "swapper.feather=3"]
    alone = [start(job, tmp_path / f"alone{i}", tmp_path / f"s{i}", *changed[: 2 * i]) for i in range(2)]
    together = [start(job, tmp_path / f"both{i}", tmp_path / "one", *changed[: 2 * i]) for i in range(2)]
    assert [process.wait() for process in [*alone, *together]] == [0, 0, 0, 0]
    for i in range(2):
        assert content(tmp_path / f"alone{i}") == content(tmp_path / f"both{i}")
    assert content(tmp_path / "both0") != content(tmp_path / "both1")


def test_the_same_run_twice_at_once_fills_one_folder(job: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time everything is kept, and both are in the run folder at once
        both = [start(job, tmp_path / "run", tmp_path / "one") for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]


def test_runs_that_differ_in_the_swapper_track_once(job: Path, vswap: Vswap) -> None:
    vswap("run", job, "--out", "first")
    second = vswap("run", job, "--out", "second", "--set", "swapper.feather=3")
    states = {line.split()[-2]: line.split()[0] for line in second.stderr.splitlines() if "/" in line}
    assert states["tracks"] == states["masks"] == states["prepare"] == "kept"
    assert states["swap"] == "done"


def test_a_full_disk_in_the_store_is_one_line_and_leaves_nothing_half_written(job: Path, tmp_path: Path) -> None:
    def limit() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    command = [*COMMAND, "run", str(job), "--out", str(tmp_path / "run"), "--store", str(tmp_path / "store")]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert ended.returncode == 2
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "while storing 'source'" in errors[0]
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert start(job, tmp_path / "run", tmp_path / "store").wait() == 0


@pytest.mark.parametrize("option", ["--out", "--store"])
def test_an_output_that_cannot_be_written_is_one_line(job: Path, vswap: Vswap, tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    ended = vswap("run", job, option, tmp_path / "file" / "below")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "can't be written" in ended.stderr
