from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from vswap_kernel.errors import ConfigError, InputError
from vswap_kernel.pictures import read_image
from vswap_kernel.registry import Registry
from vswap_toybox.anatomy import POINT_NAMES
from vswap_toybox.clip import Clip
from vswap_toybox.evaluation import bench
from vswap_toybox.evaluation.bench import Evaluation
from vswap_toybox.evaluation.methods import Method, find_methods
from vswap_toybox.evaluation.running import Step, evaluate
from vswap_toybox.evaluation.scoring import FIGURES
from vswap_toybox.evaluation.suites import SUITES, check_size, moves, suite_clip
from vswap_toybox.evaluation.tables import as_json, write_results
from vswap_toybox.subject import part_to_subject
from vswap_toybox.writing import write_clip

SMALL = (64, 64)


def asked(out: Path, methods: str = "source,warp", clips: int = 2) -> Evaluation:
    return Evaluation("toybox/same-shape", clips, 5, find_methods(methods), out, out / "store", size=SMALL)


def run(job: Evaluation, registry: Registry) -> dict[str, list[bench.Row]]:
    return evaluate(job, registry, lambda step: None)


def timeless(rows: dict[str, list[bench.Row]]) -> dict[str, list[bench.Row]]:
    return {name: [row | {"seconds": None} for row in listed] for name, listed in rows.items()}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def finished(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, dict]:
    """Two clips by `source` and `warp`; nobody changes its folder."""
    job = asked(tmp_path_factory.mktemp("eval"))
    return job, run(job, registry)


def test_a_clip_is_the_same_whatever_else_is_evaluated():
    one, two = (suite_clip("toybox/occlusion", 4, 3) for _ in range(2))
    assert one.video.digest() == two.video.digest()
    assert one.answer.digest() == two.answer.digest()
    others = [
        suite_clip("toybox/occlusion", 4, 2),
        suite_clip("toybox/occlusion", 5, 3),
        suite_clip("toybox/long", 4, 3),
    ]
    assert one.video.digest() not in {other.video.digest() for other in others}


@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_tries_what_it_is_called_after(suite: str):
    clips = [suite_clip(suite, 2, index) for index in range(5)]
    for made in clips:
        change = suite == "toybox/shape-change"
        shape = (made.subject.name, made.subject.length, made.subject.height)
        assert (shape != (made.target.name, made.target.length, made.target.height)) == change
        assert len(made.video) == (64 if suite == "toybox/long" else 16)
        assert set(moves(suite, made)) == (set(made.queries.names) if change else set())
        assert np.ptp(made.motion.pan_x) > 1.5 or suite != "toybox/camera"
    hidden = any((~made.tracks.visible).any() for made in clips)
    assert hidden or suite != "toybox/occlusion"


def beside_a_similarity(made: Clip) -> np.ndarray:
    """float [T]: mean distance in pixels of the points from where the best similarity of the keyframe's has them."""
    places = made.tracks.xy @ np.array([1, 1j])
    places = places - places.mean(1, keepdims=True)
    rest = places[made.keyframe]
    carried = (places @ rest.conj() / (rest @ rest.conj()))[:, None] * rest
    return np.abs(places - carried).mean(1)


def test_no_cut_out_moved_by_similarities_follows_a_subject_that_turns():
    for index in range(8):
        made = suite_clip("toybox/turning", 1, index)
        steady = suite_clip("toybox/same-shape", 1, index)
        assert beside_a_similarity(made).max() > max(8, 2 * beside_a_similarity(steady).max())


def test_a_subject_that_turns_passes_end_on_and_then_looks_the_other_way():
    for index in range(8):
        made = suite_clip("toybox/turning", 1, index)
        assert made.tracks.names == POINT_NAMES
        front, centre = (made.tracks.xy[:, POINT_NAMES.index(name)] for name in ("front", "centre"))
        ahead = (front - centre)[:, 0]
        flips = np.flatnonzero(np.diff(np.sign(ahead)))
        assert 1 <= len(flips) <= 2
        longest = np.abs(ahead).max()
        assert all(min(abs(ahead[flip : flip + 2])) < 0.35 * longest for flip in flips)
        assert np.abs(np.diff(ahead)).max() < 0.6 * longest, "it turns, and doesn't jump"
        assert abs(ahead[made.keyframe]) > 0.8 * longest, "points are set where it is seen from the side"


def test_the_parts_of_a_subject_that_turns_swing_farther_than_usual():
    for index in range(8):
        made = suite_clip("toybox/turning", 1, index)
        assert np.ptp(made.motion.phase) > 1.9
        usual = replace(made.motion, swing=np.ones_like(made.motion.swing))
        for part in made.subject.parts:
            turned, less = (
                part_to_subject(part, motion.phase, motion.swing)[:, 0, 1] for motion in (made.motion, usual)
            )
            assert not part.swing or np.ptp(turned) > 1.2 * np.ptp(less)


def test_the_drags_of_a_change_of_shape_end_where_the_target_has_its_points():
    made = suite_clip("toybox/shape-change", 2, 0)
    places = np.array(list(moves("toybox/shape-change", made).values()))
    assert places == pytest.approx(made.answer_tracks.xy[made.keyframe], abs=0.01)


def test_a_method_replaces_fields_of_the_job(tmp_path: Path):
    file, made = tmp_path / "mine.yaml", suite_clip("toybox/shape-change", 2, 0, SMALL)
    (tmp_path / "weights.bin").touch()
    fields = {"concept": {"name": "ed-lora", "weights": "weights.bin"}, "masks": None, "seed": 3}
    file.write_text(
        yaml.safe_dump(fields | {"prompt": {"source": "{source}", "replace": {"{source}": "<new> {target}"}}})
    )
    (method,) = find_methods(str(file))
    job = method.job(made, write_clip(made, tmp_path / "clip"), moves("toybox/shape-change", made))
    old, new = (subject.caption.removeprefix("a ") for subject in (made.subject, made.target))
    assert method.name == "mine"
    assert job["concept"] == {"name": "ed-lora", "weights": str((tmp_path / "weights.bin").resolve())}
    assert "masks" not in job
    assert job["seed"] == 3
    assert job["prompt"] == {"source": old, "replace": {old: f"<new> {new}"}}
    assert job["swapper"] == {"name": "warp"}
    assert set(job["edit"]["move"]) == set(made.queries.names)


def test_names_are_looked_up_among_the_ablations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples" / "ablations").mkdir(parents=True)
    (tmp_path / "examples" / "ablations" / "no-points.yaml").write_text("seed: 1\n")
    assert [(m.name, m.fields) for m in find_methods("no-points, warp")] == [("no-points", {"seed": 1}), ("warp", {})]
    with pytest.raises(ConfigError, match="did you mean 'no-points'"):
        find_methods("no-point")


def test_a_method_says_only_how_it_differs_from_its_base(tmp_path: Path):
    (tmp_path / "all.yaml").write_text(
        "swapper: {name: warp, feather: 2, model: similarity}\nseed: 3\nmasks: {name: a}\n"
    )
    (tmp_path / "less.yaml").write_text("base: all.yaml\nswapper: {feather: 0}\nmasks: {name: b}\n")
    (method,) = find_methods(str(tmp_path / "less.yaml"))
    swapper = {"name": "warp", "feather": 0, "model": "similarity"}
    assert method.fields == {"swapper": swapper, "seed": 3, "masks": {"name": "b"}}


def test_each_shipped_ablation_takes_away_what_it_is_called_after():
    folder = Path(__file__).parents[2] / "examples" / "ablations"
    whole = find_methods(str(folder / "point-diffusion.yaml"))[0].fields
    changed = {
        "no-points": {("swapper", "registration_steps"): 0},
        "no-patch-loss": {("swapper", "loss"): "global"},
        "no-semantic-schedule": {("swapper", "lowest_timestep"): 0.0},
        "no-blend": {("swapper", "latent_blend"): False, ("swapper", "composite"): False},
        "frame-by-frame": {("motion", "name"): "none"},
        "keyframe-drag": {("canonical", "name"): "keyframe"},
        "learned-embedding": {("embedder", "name"): "learned"},
        "position-only": {("embedder", "name"): "position"},
    }
    assert {path.stem for path in folder.glob("*.yaml")} == {"point-diffusion", *changed}
    for name, wanted in changed.items():
        fields = find_methods(str(folder / f"{name}.yaml"))[0].fields
        assert {(family, option): fields[family][option] for family, option in wanted} == wanted
        touched = {family for family in fields if fields[family] != whole.get(family)}
        assert touched == {family for family, _ in wanted}


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("wrap", ConfigError, "did you mean 'warp'"),
        ("", ConfigError, "none is named"),
        ("warp,source,warp", ConfigError, "'warp' stands there more than once"),
        ("missing.yaml", InputError, "no such file"),
        ("list.yaml", InputError, "expected fields"),
        ("warp.yaml", ConfigError, "rename"),
        ("lost.yaml", InputError, "lost.yaml: base: there is no file 'gone.yaml' beside it"),
        ("far.yaml", InputError, "far.yaml: base: there is no file '../far.yaml' beside it"),
        ("third.yaml", InputError, "third.yaml: base: lost.yaml has a base itself"),
    ],
)
def test_bad_methods_are_one_line(
    text: str, kind: type[InputError], match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("list.yaml", "warp.yaml"):
        (tmp_path / name).write_text("- one\n")
    for name, base in (("lost", "gone.yaml"), ("far", "../far.yaml"), ("third", "lost.yaml")):
        (tmp_path / f"{name}.yaml").write_text(f"base: {base}\n")
    with pytest.raises(kind, match=match):
        find_methods(text)


def test_frames_too_small_to_judge_are_refused():
    assert check_size((48, 64)) == (48, 64)
    with pytest.raises(InputError, match="at least 48x48"):
        check_size((96, 40))


def test_rows_hold_all_figures_and_warp_paints_the_new_subject(finished: tuple[Evaluation, dict]):
    _, rows = finished
    assert {name: len(listed) for name, listed in rows.items()} == {"source": 2, "warp": 2}
    for row in (*rows["source"], *rows["warp"]):
        assert row["error"] is None
        assert all(isinstance(row[name], float) for name in FIGURES)
    for floor, warp in zip(rows["source"], rows["warp"], strict=True):
        assert warp["subject_psnr"] > floor["subject_psnr"]
        assert warp["identity"] > floor["identity"]
        assert floor["seconds"] == 0 < warp["seconds"]
        assert floor["background_psnr"] == 100


def test_what_is_written_is_as_documented(finished: tuple[Evaluation, dict]):
    job, rows = finished
    data = write_results(job, rows)
    assert data == json.loads((job.out / "results.json").read_text()) == as_json(job.suite, rows)
    assert set(data) == {"suite", "methods"}
    for found in data["methods"].values():
        assert list(found) == ["mean", "spread", "clips"]
        assert tuple(found["mean"]) == tuple(found["spread"]) == FIGURES
        values = [row["mask_iou"] for row in found["clips"]]
        assert found["mean"]["mask_iou"] == pytest.approx(np.mean(values), abs=1e-4)
        assert found["spread"]["mask_iou"] == pytest.approx(np.std(values), abs=1e-4)
    with (job.out / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["method"], row["clip"]) for row in table] == [(m, c) for m in ("source", "warp") for c in "01"]
    page = (job.out / "index.html").read_text()
    assert all(f"sheets/{index:03d}.png" in page and f"<td>{name}</td>" in page for index in (0, 1) for name in rows)
    sheet = read_image(job.out / "sheets" / "000.png")[..., :3]
    made = suite_clip(job.suite, job.seed, 0, SMALL)
    for row, video in enumerate((made.video, made.answer.video)):
        top = row * (2 * SMALL[1] + 2)
        assert np.array_equal(sheet[top : top + 128 : 2, :128:2], video.frames[0])


def test_finished_rows_are_kept_and_a_new_evaluation_says_the_same(
    finished: tuple[Evaluation, dict], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job, rows = finished
    again = asked(tmp_path / "again", clips=1)
    assert timeless(run(again, registry)) == {name: listed[:1] for name, listed in timeless(rows).items()}
    monkeypatch.setattr(bench, "run_config", lambda *_, **__: pytest.fail("was finished"))
    assert run(job, registry) == rows


def test_a_killed_evaluation_goes_on(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job, real, runs = asked(tmp_path, "warp"), bench.run_config, []

    def stopped(path: Path, **settings: object) -> object:
        runs.append(path.parent.name)
        if path.parent.name == "001" and runs.count("001") == 1:
            raise KeyboardInterrupt
        return real(path, **settings)

    monkeypatch.setattr(bench, "run_config", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(job, registry)
    assert [row["error"] for row in run(job, registry)["warp"]] == [None, None]
    assert runs == ["000", "001", "001"]


def test_a_failing_clip_is_a_row_and_is_tried_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job, real = asked(tmp_path, "warp,source"), bench.run_config

    def failing(path: Path, **settings: object) -> object:
        if path.parent.name == "000":
            raise InputError("the disk\nis on fire")
        return real(path, **settings)

    monkeypatch.setattr(bench, "run_config", failing)
    steps: list[Step] = []
    rows = evaluate(job, registry, steps.append)
    assert [row["error"] for row in rows["warp"]] == ["the disk is on fire", None]
    assert [row["error"] for row in rows["source"]] == [None, None]
    assert rows["warp"][0]["mask_iou"] is None
    assert [step.done for step in steps if step.row] == [1, 2, 3, 4]
    found = write_results(job, rows)["methods"]["warp"]
    assert found["mean"]["mask_iou"] == rows["warp"][1]["mask_iou"]
    assert "the disk is on fire" in (tmp_path / "index.html").read_text()
    monkeypatch.undo()
    assert run(job, registry)["warp"][0]["error"] is None


def test_clips_judged_at_once_are_judged_alike(finished: tuple[Evaluation, dict], registry: Registry, tmp_path: Path):
    job = replace(asked(tmp_path), jobs=2)
    steps: list[Step] = []
    rows = evaluate(job, registry, steps.append)
    assert timeless(rows) == timeless(finished[1])
    assert [step.done for step in steps if step.row] == [1, 2, 3, 4]
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {"000.png", "001.png"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_processes_end_when_the_evaluation_is_killed(tmp_path: Path):
    command = [Path(sys.executable).with_name("vswap"), "eval", "swap", "--suite", "toybox/long", "--clips", "8"]
    ended = subprocess.Popen(
        [*command, "--jobs", "2"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    workers: list[str] = []
    while ended.poll() is None and len(workers) < 2:
        children = Path(f"/proc/{ended.pid}/task/{ended.pid}/children").read_text().split()
        workers = [child for child in children if "spawn_main" in _command_line(child)]
        time.sleep(0.05)
    assert len(workers) == 2, "it ended before its processes began"
    ended.kill()
    ended.wait()
    patience = time.monotonic() + 60
    while any(map(_command_line, workers)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not any(map(_command_line, workers))


def _command_line(process: str) -> str:
    """Empty for one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def test_a_method_that_fits_nothing_is_told_before_anything_runs(registry: Registry, tmp_path: Path):
    bad = [Method("bad", {"swapper": {"name": "warp", "stifness": 1}})]
    job = Evaluation("toybox/same-shape", 2, 5, bad, tmp_path, tmp_path / "store", size=SMALL)
    with pytest.raises(ConfigError, match="did you mean 'stiffness'"):
        run(job, registry)
    assert not (tmp_path / "clips" / "001").exists()


def test_the_command_prints_json_and_keeps_to_its_exit_codes(tmp_path: Path):
    def vswap(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("vswap"), "eval", "swap", "--clips", "1", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
        )

    ended = vswap("--suite", "toybox/same-shape", "--methods", "source", "--size", "64x64", "--json")
    assert ended.returncode == 0, ended.stderr
    data = json.loads(ended.stdout)
    out = tmp_path / "runs" / "eval-toybox-same-shape-0"
    assert data == json.loads((out / "results.json").read_text())
    ended = vswap("--suite", "toybox/same-shap")
    assert ended.returncode == 2
    assert "did you mean 'toybox/same-shape'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    (tmp_path / "short.yaml").write_text("video: {path: source, frames: 15}\nedit: {frame: 0}\n")
    ended = vswap("--suite", "toybox/same-shape", "--methods", "short.yaml", "--size", "64x64")
    assert ended.returncode == 1
    assert "fail clip 0 short: short: the result has 15 frames of 64x64" in ended.stderr
