from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import yaml

from vswap_kernel.api import ComponentSpec, Context, NoOptions, Options, hookimpl
from vswap_kernel.errors import ConfigError, InputError, PluginError
from vswap_kernel.pictures import read_image
from vswap_kernel.registry import Registry
from vswap_kernel.types import DisplacementField, Masks, PointEdit, PointTracks, Video
from vswap_toybox.clip import Clip, drag, make_clip
from vswap_toybox.evaluation.canonical.bench import Evaluation
from vswap_toybox.evaluation.canonical.drags import Drags, subject_length, true_drags
from vswap_toybox.evaluation.canonical.figures import DETAILS, FIGURES, Carried, figures
from vswap_toybox.evaluation.canonical.methods import EXACT, find_canonicals, with_tracker
from vswap_toybox.evaluation.canonical.running import evaluate
from vswap_toybox.evaluation.canonical.suites import SUITES, check_length, suite_clip
from vswap_toybox.evaluation.canonical.tables import write_results
from vswap_toybox.evaluation.watching import Step
from vswap_toybox.motion import Motion
from vswap_toybox.scene import Scene
from vswap_toybox.subject import Subject, part_to_subject

LENGTH, SEED, FRAMES = 32, 3, 8


class Oracle:
    """Canonical that knows the clips of the suites, and so where every drag goes."""

    fitted: ClassVar[list[str]] = []

    def __init__(self, options: NoOptions, context: Context) -> None:
        pass

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        known = [(name, i) for name in SUITES for i in range(3)]
        found = [at for at in known if suite_clip(at[0], SEED, at[1], LENGTH)[0].video.digest() == video.digest()]
        assert masks is not None
        self.fitted.append(video.digest())
        (out / "clip.json").write_text(json.dumps(found[0]))

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        name, index = json.loads((fitted / "clip.json").read_text())
        clip, _ = suite_clip(name, SEED, index, LENGTH)
        delta = np.zeros(tracks.xy.shape, np.float32)
        for point in edit.move:
            delta[:, tracks.names.index(point)] = true_drags(clip, edit.move).delta[:, 0]
        return DisplacementField(tracks.names, delta, clip.tracks.visible.copy())


class FussyOptions(Options):
    fault: str = "fit"


class Fussy:
    """Canonical that fails, or returns what it must not."""

    def __init__(self, options: FussyOptions, context: Context) -> None:
        self._fault = options.fault

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        if self._fault == "fit":
            raise InputError("the disk\nis on fire")

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        delta = np.zeros(tracks.xy.shape, np.float32)
        if self._fault == "nan":
            delta[0] = np.nan
        names = tracks.names[:-1] if self._fault == "names" else tracks.names
        return DisplacementField(names, delta[:, : len(names)], tracks.visible[:, : len(names)].copy())


def made_up() -> ModuleType:
    @hookimpl
    def vswap_canonicals():
        yield ComponentSpec("oracle", f"{__name__}:Oracle", summary="knows the truth")
        yield ComponentSpec("fussy", f"{__name__}:Fussy", FussyOptions, summary="fails")
        yield ComponentSpec("picky", f"{__name__}:Oracle", summary="works with others", accepts={"embedder": ()})
        yield ComponentSpec("far-away", f"{__name__}:Oracle", requires=("no_such_package",), install="pip install it")

    module = ModuleType("made_up_canonicals")
    module.vswap_canonicals = vswap_canonicals
    return module


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = Registry.discover()
    assert found.add(made_up, "made-up", "vswap-made-up", "1").status == "ok"
    return found


def asked(out: Path, registry: Registry, methods: str, clips: int = 2, **changes: object) -> Evaluation:
    found = with_tracker(find_canonicals(methods, registry)[0], EXACT)
    return replace(Evaluation("moving", clips, SEED, found, out, EXACT, length=LENGTH), **changes)


def run(job: Evaluation, registry: Registry) -> dict[str, list[dict]]:
    return evaluate(job, registry, lambda step: None)


@pytest.fixture(scope="module")
def finished(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, dict]:
    """Two clips by the oracle and `keyframe`; nobody changes its folder."""
    job = asked(tmp_path_factory.mktemp("eval"), registry, "oracle,keyframe")
    return job, run(job, registry)


def filmed(name: str) -> Clip:
    """A subject that turns, grows and drives, and nothing else: similarities, and its own parts."""
    course = np.linspace(0, 1, FRAMES)
    motion = Motion.of(FRAMES, x=course - 0.5, rotation=0.9 * course, scale=0.4 + 0.3 * course, phase=0.7 * course)
    subject = Subject(name, "red", "white")
    return make_clip(subject, subject, Scene.sample(np.random.default_rng(0)), motion, (64, 64), keyframe=2)


def by_hand(clip: Clip, drags: Drags, name: str, bend: np.ndarray) -> np.ndarray:
    """complex [T]: the offset of a point on the keyframe, turned and grown; angles count against the y that is down."""
    x, y = np.array(drags.moves[name]) - clip.tracks.xy[clip.keyframe, clip.tracks.names.index(name)]
    factor = clip.motion.scale * np.exp(-1j * (clip.motion.rotation + bend))
    return (x + 1j * y) * factor / factor[clip.keyframe]


def test_a_moved_point_keeps_its_place_in_the_subject():
    clip = filmed("car")
    drags = true_drags(clip, {"top": (40.0, 5.0), "back": (3.0, 50.0)})
    assert not drags.swings.any()
    assert drags.outside.tolist() == [True, True]
    for index, name in enumerate(drags.moves):
        found = drags.delta[:, index] @ np.array([1, 1j])
        np.testing.assert_allclose(found, by_hand(clip, drags, name, np.zeros(FRAMES)), atol=1e-4)
    np.testing.assert_allclose(drags.delta, drag(clip, drags.moves).delta[:, [2, 1]], atol=1e-4)


def test_a_moved_point_of_a_tail_wags_with_it():
    clip = filmed("fish")
    drags = true_drags(clip, {"back": (10.0, 12.0), "front": (40.0, 30.0)})
    assert drags.swings.tolist() == [True, False]
    wag = 0.5 * np.sin(2 * np.pi * clip.motion.phase.astype(np.float64))  # the anatomy's swing, in radians
    assert np.ptp(wag) > 0.7
    for index, (name, bend) in enumerate((("back", wag), ("front", 0 * wag))):
        found = drags.delta[:, index] @ np.array([1, 1j])
        np.testing.assert_allclose(found, by_hand(clip, drags, name, bend), atol=1e-4)


def test_a_point_moved_to_where_a_longer_tail_has_it_goes_where_that_tail_is():
    clip = filmed("fish")
    tail = clip.subject.parts[0]
    maps = clip.motion.subject_to_pixels(clip.size), part_to_subject(tail, clip.motion.phase)
    tip = np.array([0.0, -0.8 * tail.half_height * 1.5, 1.0])  # half as far again from the tail's middle
    inside = np.einsum("tij,j->ti", maps[1], tip)
    places = np.einsum("tij,tj->ti", maps[0][:, :, :2], inside) + maps[0][:, :, 2]
    drags = true_drags(clip, {"back": tuple(places[clip.keyframe].tolist())})
    carried = clip.tracks.xy[:, clip.tracks.names.index("back")] + drags.delta[:, 0]
    np.testing.assert_allclose(carried, places, atol=1e-3)


@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_moves_enough_that_a_copied_drag_is_wrong(suite: str):
    copied = []
    for index in range(6):
        clip, drags = suite_clip(suite, SEED, index, LENGTH)
        again, same = suite_clip(suite, SEED, index, LENGTH)
        assert (clip.video.digest(), drags.digest()) == (again.video.digest(), same.digest())
        assert 16 <= len(clip.video) <= 24
        assert clip.size == (2 * LENGTH, 2 * LENGTH)
        assert drags.visible[clip.keyframe].all()
        offset = drags.delta[clip.keyframe]
        copied.append(np.linalg.norm(drags.delta - offset, axis=-1)[drags.visible].mean())
        moved = np.linalg.norm(offset, axis=-1) / np.linalg.norm(
            clip.motion.subject_to_pixels(clip.size)[clip.keyframe, :, 0]
        )
        shares = moved / subject_length(clip.subject)
        assert ((shares > 0.09) & (shares < 0.21)).all()
        assert drags.outside[[*drags.moves].index("top")], "a taller roof"
        if suite != "turning":
            assert np.ptp(clip.motion.rotation) > 0.65
            assert 0.6 < clip.motion.scale.mean() * subject_length(clip.subject) < 1.5
    assert np.mean(copied) > 0.045 * LENGTH, "3 px of a subject of 64"


def test_something_hides_points_in_the_suite_occlusion():
    hidden = [~suite_clip("occlusion", SEED, index, LENGTH)[1].visible for index in range(4)]
    assert all(each.any() for each in hidden)


def test_figures_of_a_case_by_hand():
    visible = np.array([[True, True], [True, False]])
    swings, outside = np.array([False, True]), np.array([False, False])
    drags = Drags({"a": (0, 0), "b": (1, 1)}, np.zeros((2, 2, 2), np.float32), visible, swings, outside)
    delta = np.array([[[3, 4], [0, 1]], [[0, 0], [90, 90]]], np.float32)
    valid = np.array([[True, False], [True, False]])
    found = figures(drags, Carried(delta, valid, 1.5, 20.0))
    assert tuple(found) == (*FIGURES, *DETAILS)
    assert found["mean_px"] == 2
    assert found["p95_px"] == pytest.approx(4.6)  # 0, 1, 5: nine tenths of the way from 1 to 5
    assert found["validity"] == 0.75
    assert (found["fit_seconds"], found["drag_ms"]) == (1.5, 20)
    assert (found["rigid_px"], found["swinging_px"], found["outside_px"]) == (2.5, 1, None)


def test_one_who_knows_the_truth_is_perfect(finished: tuple[Evaluation, dict]):
    for row in finished[1]["oracle"]:
        assert row["error"] is None
        assert row["mean_px"] == row["p95_px"] == pytest.approx(0, abs=1e-4)
        assert row["validity"] == 1
        assert row["fit_seconds"] > 0 < row["drag_ms"]


def test_validity_is_judged_where_points_are_hidden(registry: Registry, tmp_path: Path):
    rows = run(asked(tmp_path, registry, "oracle", clips=1, suite="occlusion"), registry)
    assert rows["oracle"][0]["validity"] == 1
    assert rows["oracle"][0]["mean_px"] == pytest.approx(0, abs=1e-4)


def test_keyframe_is_off_by_what_the_subject_turned_and_grew(finished: tuple[Evaluation, dict]):
    for index, row in enumerate(finished[1]["keyframe"]):
        clip, drags = suite_clip("moving", SEED, index, LENGTH)
        copied = np.array([*drags.moves.values()]) - clip.tracks.xy[clip.keyframe]
        off = np.hypot(*np.moveaxis(copied - drags.delta, -1, 0))[drags.visible]
        rounding = 0.01  # a points file has places to 1/100 px
        assert row["mean_px"] == pytest.approx(off.mean(), abs=rounding)
        assert row["p95_px"] == pytest.approx(np.percentile(off, 95), abs=rounding)
        assert row["distances"] == pytest.approx(off.tolist(), abs=rounding)


def test_what_is_written_is_as_documented(finished: tuple[Evaluation, dict]):
    job, rows = finished
    data = write_results(job, rows)
    assert data == json.loads((job.out / "results.json").read_text())
    assert list(data) == ["suite", "clips", "seed", "length", "tracks", "masks", "methods"]
    for name, found in data["methods"].items():
        assert tuple(found) == (*FIGURES, *DETAILS, "failed", "clips")
        assert found["mean_px"] == pytest.approx(np.mean([row["mean_px"] for row in rows[name]]), abs=1e-4)
        together = [each for row in rows[name] for each in row["distances"]]
        assert found["p95_px"] == pytest.approx(np.percentile(together, 95), abs=1e-4)
        assert [row["clip"] for row in found["clips"]] == [0, 1]
    with (job.out / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["method"], row["clip"]) for row in table] == [(m, c) for m in ("oracle", "keyframe") for c in "01"]
    page = (job.out / "index.html").read_text()
    assert all(f"sheets/{index:03d}.png" in page and f"<td>{name}</td>" in page for index in (0, 1) for name in rows)


def test_the_sheet_shows_the_truth_and_each_method_on_the_same_frames(finished: tuple[Evaluation, dict]):
    sheet = read_image(finished[0].out / "sheets" / "000.png")[..., :3].astype(int)
    side, gap = 256, 2
    assert sheet.shape == (3 * (side + gap), 8 * (side + gap), 3)
    truth, oracle, keyframe = (sheet[row * (side + gap) :][:side] for row in range(3))

    def painted(row: np.ndarray, ink: tuple[int, int, int]) -> bool:
        return bool((np.abs(row - ink).max(-1) < 8).any())

    assert painted(truth, (255, 255, 255))
    assert painted(oracle, (40, 220, 90))
    assert not painted(oracle, (255, 50, 50))
    assert painted(keyframe, (255, 50, 50))


def test_each_clip_is_a_job_that_can_be_run(finished: tuple[Evaluation, dict]):
    job = yaml.safe_load((finished[0].out / "clips" / "000" / "job-keyframe.yaml").read_text())
    _, drags = suite_clip("moving", SEED, 0, LENGTH)
    assert job["edit"]["move"] == {name: list(place) for name, place in drags.moves.items()}
    assert job["tracker"] == {"name": "file", "path": "tracks"}
    assert job["canonical"] == {"name": "keyframe"}


def test_finished_rows_are_kept_and_a_new_evaluation_says_the_same(
    finished: tuple[Evaluation, dict], registry: Registry, tmp_path: Path
):
    job, rows = finished
    before = len(Oracle.fitted)
    assert run(job, registry) == rows
    assert len(Oracle.fitted) == before
    steps: list[Step] = []
    again = evaluate(asked(tmp_path, registry, "oracle,keyframe", clips=1), registry, steps.append)
    assert len(Oracle.fitted) == before + 1
    assert [step.done for step in steps if step.row] == [1, 2]
    times = dict.fromkeys(("fit_seconds", "drag_ms"))
    assert [again[name][0] | times for name in again] == [rows[name][0] | times for name in again]
    sheets = [(folder / "sheets" / "000.png").read_bytes() for folder in (job.out, tmp_path)]
    assert sheets[0] == sheets[1]


def test_a_killed_evaluation_goes_on(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job, real, fits = asked(tmp_path, registry, "oracle"), Oracle.fit, []

    def stopped(self: Oracle, *arguments: object) -> None:
        fits.append(len(fits))
        if len(fits) == 2:
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(Oracle, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(job, registry)
    assert [row["error"] for row in run(job, registry)["oracle"]] == [None, None]
    assert len(fits) == 3


def test_a_failing_method_is_a_row_and_is_tried_again(registry: Registry, tmp_path: Path):
    job = asked(tmp_path, registry, "fussy,keyframe", clips=1)
    rows = run(job, registry)
    assert rows["fussy"][0]["error"] == "the disk is on fire"
    assert rows["fussy"][0]["mean_px"] is None
    assert rows["keyframe"][0]["error"] is None
    data = write_results(job, rows)["methods"]
    assert (data["fussy"]["failed"], data["fussy"]["mean_px"], data["fussy"]["p95_px"]) == (1, None, None)
    assert "the disk is on fire" in (tmp_path / "index.html").read_text()
    assert not (tmp_path / "scratch").exists()
    again = replace(job, overrides=("canonical.fault=none",))
    assert run(again, registry)["fussy"][0]["error"] is None


@pytest.mark.parametrize(("fault", "match"), [("nan", "not finite"), ("names", "returned 5 points in")])
def test_what_a_canonical_must_not_return_is_told(fault: str, match: str, registry: Registry, tmp_path: Path):
    job = asked(tmp_path, registry, "fussy", clips=1, overrides=(f"canonical.fault={fault}",))
    assert match in run(job, registry)["fussy"][0]["error"]


def test_options_of_one_canonical_leave_the_others_alone(registry: Registry, tmp_path: Path):
    job = asked(tmp_path, registry, "keyframe,fussy", clips=1, overrides=("canonical.fault=none", "seed=4"))
    assert [row["error"] for rows in run(job, registry).values() for row in rows] == [None, None]
    assert run(replace(job, overrides=("seed=4",)), registry)["fussy"][0]["error"] == "the disk is on fire"
    with pytest.raises(ConfigError, match="did you mean 'fault'"):
        run(replace(job, overrides=("canonical.faul=none",)), registry)


def test_tracks_of_a_tracker_are_found_once_and_judged_by_their_drags(registry: Registry, tmp_path: Path):
    methods = with_tracker(find_canonicals("keyframe,oracle", registry)[0], "lucas-kanade")
    job = replace(asked(tmp_path, registry, "keyframe", clips=1), methods=methods, tracks="lucas-kanade")
    rows = run(job, registry)
    assert rows["oracle"][0]["mean_px"] == pytest.approx(0, abs=1e-4)
    assert rows["keyframe"][0]["validity"] <= 1
    inputs = [*(tmp_path / "clips" / "000" / "inputs").iterdir()]
    assert len(inputs) == 2, "tracks and masks"


def test_masks_can_be_kept_from_a_canonical(registry: Registry, tmp_path: Path):
    job = asked(tmp_path, registry, "oracle", clips=1)
    assert run(job, registry)["oracle"][0]["error"] is None
    assert "AssertionError" in run(replace(job, masks=False), registry)["oracle"][0]["error"], "it asserts its masks"


def test_methods_are_names_and_files(registry: Registry, tmp_path: Path):
    (tmp_path / "calm.yaml").write_text("name: fussy\nfault: none\n")
    (tmp_path / "other.yaml").write_text("canonical: {name: keyframe}\ntracker: {name: lucas-kanade}\n")
    found, left_out = find_canonicals(f"similarity, {tmp_path}/calm.yaml,{tmp_path}/other.yaml", registry)
    assert left_out == []
    assert [each.name for each in found] == ["similarity", "calm", "other"]
    first, calm, other = with_tracker(found, EXACT)
    assert first.fields["tracker"] == calm.fields["tracker"] == {"name": "file", "path": "tracks"}
    assert calm.fields["canonical"] == {"name": "fussy", "fault": "none"}
    assert other.fields["tracker"] == {"name": "lucas-kanade"}


def test_by_default_all_are_tried_that_can_run_here(registry: Registry):
    found, left_out = find_canonicals(None, registry)
    names = {method.name for method in found}
    assert {"keyframe", "similarity", "oracle"} <= names
    assert not names & {"picky", "far-away"}
    assert "picky: works with embedder; name those in a YAML file for --methods" in left_out
    assert "far-away: needs no_such_package; pip install it" in left_out


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("keyfram", ConfigError, "did you mean 'keyframe'"),
        ("", ConfigError, "none is named"),
        ("keyframe,oracle,keyframe", ConfigError, "'keyframe' stands there more than once"),
        ("missing.yaml", InputError, "missing.yaml"),
        ("empty.yaml", InputError, "expected `name: ...` and options"),
        ("truth.yaml", ConfigError, "rename"),
    ],
)
def test_bad_methods_are_one_line(
    text: str, kind: type[InputError], match: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.yaml").write_text("seed: 1\n")
    (tmp_path / "truth.yaml").write_text("name: keyframe\n")
    with pytest.raises(kind, match=match) as caught:
        find_canonicals(text, registry)
    assert len(str(caught.value).splitlines()) == 1


def test_one_that_cannot_be_used_here_is_told_before_anything_runs(registry: Registry, tmp_path: Path):
    with pytest.raises(PluginError, match="pip install it"):
        run(asked(tmp_path, registry, "keyframe,far-away"), registry)
    with pytest.raises(ConfigError, match="needs an embedder"):
        run(asked(tmp_path, registry, "keyframe,picky"), registry)
    assert not (tmp_path / "clips" / "001").exists()


def test_lengths_that_cannot_be_judged_are_refused():
    assert check_length(24) == 24
    with pytest.raises(InputError, match="expected 24 to 512"):
        check_length(23)


def test_the_command_prints_json_and_keeps_to_its_exit_codes(tmp_path: Path):
    def vswap(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("vswap"), "eval", "canonical", "--clips", "1", "--length", "32"]
        environment = os.environ | {"COLUMNS": "200"}
        return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment)

    ended = vswap("--methods", "keyframe,similarity", "--json")
    assert ended.returncode == 0, ended.stderr
    data = json.loads(ended.stdout)
    assert {"mean_px", "p95_px", "validity", "fit_seconds", "drag_ms"} <= data["methods"]["keyframe"].keys()
    assert data["methods"]["similarity"]["mean_px"] < data["methods"]["keyframe"]["mean_px"]
    assert data == json.loads((tmp_path / "runs" / "eval-canonical-moving-0" / "results.json").read_text())
    ended = vswap("--suite", "movin")
    assert ended.returncode == 2
    assert "did you mean 'moving'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
