from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Job

REPOSITORY = Path(__file__).parents[2]


def vswap(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command with the small plugin beside the built-in ones."""
    command = [sys.executable, "-m", "small_command", *map(str, arguments)]
    path = os.pathsep.join([str(REPOSITORY / "tests" / "plugins")])
    variables = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=120)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_run_prints_where_everything_is_and_a_second_one_reuses_it(job: Job, tmp_path: Path, store: Path) -> None:
    config = job()
    first = vswap("run", config, "--out", tmp_path / "run", "--store", store)
    assert first.returncode == 0, first.stderr
    assert str(tmp_path / "run" / "result.mp4") in first.stdout
    assert "share-changed.share" in first.stdout
    second = vswap("run", config, "--out", tmp_path / "run", "--store", store)
    assert "done" not in second.stderr
    assert second.stderr.count("kept") == 8


def test_json_is_all_that_stdout_holds(job: Job, tmp_path: Path, store: Path) -> None:
    ran = vswap("run", job(), "--out", tmp_path / "run", "--store", store, "--json")
    assert json.loads(ran.stdout)["video"] == str(tmp_path / "run" / "result.mp4")
    rows = json.loads(vswap("plan", job(), "--store", store, "--json").stdout)
    assert {row["state"] for row in rows} == {"hit"}
    listed = json.loads(vswap("store", "list", "--store", store, "--json").stdout)
    assert len(listed) == 8
    components = json.loads(vswap("plugins", "list", "--json").stdout)["components"]
    assert {"drift", "lucas-kanade"} <= {row["name"] for row in components}
    assert json.loads(vswap("schema").stdout)["properties"]["tracker"]["oneOf"]


def test_a_plan_tells_why(job: Job, tmp_path: Path, store: Path) -> None:
    config = job()
    vswap("run", config, "--out", tmp_path / "run", "--store", store)
    said = vswap("plan", config, "--store", store, "--set", "swapper.level=77").stdout
    assert "options.level: 0 -> 77" in said
    assert "tracks" in said


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "absent.yaml"], "absent.yaml: not a config that can be read (no such file)"),
        (["plugins", "info", "drfit"], "unknown component 'drfit'; did you mean 'drift'?"),
        (["points", "check", "absent.json", "{frames}"], "absent.json: no such points file"),
        (["points", "write", "{frames}", "p.json", "--point", "a=1"], "--point a=1: expected name=x,y"),
        (["points", "write", "{frames}", "p.json", "--point", "a=99,1"], "point 'a' at (99.0, 1.0) is outside"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_exit_code_2(
    job: Job, tmp_path: Path, arguments: list[str], line: str
) -> None:
    job()
    ended = vswap(*(argument.replace("{frames}", str(tmp_path / "frames")) for argument in arguments))
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert line in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


def test_tracebacks_come_with_debug_only(job: Job, tmp_path: Path, store: Path) -> None:
    config = job(tracker={"name": "crashing"})
    plain = vswap("run", config, "--out", tmp_path / "run", "--store", store)
    assert "Traceback" not in plain.stderr
    assert "ZeroDivisionError: no luck; --debug shows where" in plain.stderr
    assert "Traceback" in vswap("run", config, "--out", tmp_path / "run", "--store", store, "--debug").stderr


def test_a_bad_config_leaves_no_run_folder(job: Job, tmp_path: Path, store: Path) -> None:
    ended = vswap("run", job(swapper={"name": "paint", "level": 13}), "--out", tmp_path / "run", "--store", store)
    assert ended.returncode == 2
    assert not (tmp_path / "run").exists()


def test_points_are_written_checked_and_drawn(job: Job, tmp_path: Path) -> None:
    job()
    points, frames, picture = tmp_path / "new.json", tmp_path / "frames", tmp_path / "drawn.png"
    assert vswap("points", "write", frames, points, "--point", "a=3,4", "--point", "b=9.5,2").returncode == 0
    assert json.loads(points.read_text())["points"] == {"a": [3.0, 4.0], "b": [9.5, 2.0]}
    assert "2 points on frame 0" in vswap("points", "check", points, frames).stdout
    drawn = vswap("points", "draw", points, frames, "--out", picture)
    assert drawn.returncode == 0, drawn.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_doctor_shows_every_plugin_and_fails_when_one_is_not_well() -> None:
    well = vswap("plugins", "doctor")
    assert well.returncode == 0, well.stdout
    ill = vswap("plugins", "doctor", SMALL_COMMAND_BROKEN="1")
    assert ill.returncode == 1
    assert "broken" in ill.stdout
    assert vswap("plugins", "list", SMALL_COMMAND_BROKEN="1").returncode == 0


def test_a_plugin_that_cannot_add_its_commands_is_named_and_everything_else_works() -> None:
    listed = vswap("plugins", "list", SMALL_COMMAND_BROKEN="cli")
    assert listed.returncode == 0
    assert "plugin vswap-cli:cli could not add its commands: RuntimeError: no commands" in listed.stderr
    assert "lucas-kanade" in listed.stdout


def test_info_tells_options_and_what_to_install() -> None:
    said = vswap("plugins", "info", "tracker/absent").stdout
    assert "pip install no-such" in said
    assert "grey of the new subject" in vswap("plugins", "info", "paint").stdout


def test_pruning_empties_the_store(job: Job, tmp_path: Path, store: Path) -> None:
    vswap("run", job(), "--out", tmp_path / "run", "--store", store)
    undecided = vswap("store", "prune", "--store", store)
    assert undecided.returncode == 2
    assert "--damaged or --all" in undecided.stderr
    assert "removed 8 results" in vswap("store", "prune", "--all", "--store", store).stdout
    assert json.loads(vswap("store", "list", "--store", store, "--json").stdout) == []


def _interruptible() -> None:
    """Tests that a shell runs in the background ignore interrupts, and hand that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_interrupt_says_how_to_go_on(job: Job, tmp_path: Path, store: Path) -> None:
    config = job(tracker={"name": "sleepy"})
    command = [sys.executable, "-m", "small_command", "run", config, "--out", tmp_path / "run", "--store", store]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests" / "plugins")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_interruptible)
    while not (tmp_path / "asleep").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert vswap("run", job(), "--out", tmp_path / "run", "--store", store).returncode == 0
