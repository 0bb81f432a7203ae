"""What evaluations share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vswap_evaluation.rows import keep_row, kept_row, write_whole

PARENT = """
import sys, time
from multiprocessing import get_context
from vswap_evaluation.processes import end_with_parent

def work(pipe):
    end_with_parent()
    pipe.send("ready")
    time.sleep(60)

if __name__ == "__main__":
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=work, args=(theirs,))
    process.start()
    ours.recv()
    print(process.pid, flush=True)
    time.sleep(60)
"""


def test_a_row_is_found_again_under_its_key_alone(tmp_path: Path) -> None:
    keep_row(tmp_path / "row.json", "k", {"aj": 0.5, "error": None})
    assert kept_row(tmp_path / "row.json", "k") == {"aj": 0.5, "error": None}
    assert kept_row(tmp_path / "row.json", "other") is None
    assert [path.name for path in tmp_path.iterdir()] == ["row.json"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"key": "k"}', '{"key": "k", "row": 3}'])
def test_a_row_that_is_missing_or_broken_is_none(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "row.json").write_text(text)
    assert kept_row(tmp_path / "row.json", "k") is None


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a.txt", "half \ud800")
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks /proc whether a process is there")
def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _runs(child)
        os.kill(parent.pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process: int) -> bool:
    """Whether it is there, and not only waiting for somebody to note its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
