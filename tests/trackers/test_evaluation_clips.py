from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import known_trackers
from vswap_kernel.encode import write_png
from vswap_kernel.errors import ConfigError, InputError, PluginError
from vswap_kernel.registry import Registry
from vswap_toybox.clip import clip as toybox_clip
from vswap_toybox.writing import write_clip
from vswap_trackers.evaluation.clips import find_clips
from vswap_trackers.evaluation.contenders import contenders
from vswap_trackers.evaluation.truth import ask

JOINTS = {
    "width": 32,
    "height": 24,
    "names": ["nose", "tail"],
    "frames": [1, 3],
    "xy": [[[4.0, 5.0], None], [[6.0, 5.0], [20.0, 9.0]]],
    "visible": [[True, True], [True, True]],
}


def write_folder(folder: Path, joints: Any = None, frames: int = 4, masks: bool = True) -> Path:
    """A clip of 32 x 24 in the layout of folders; the mask of frame t has 10 * (t + 1) pixels."""
    (folder / "frames").mkdir(parents=True)
    for t in range(frames):
        write_png(folder / "frames" / f"{t:05d}.png", np.full((24, 32, 3), 40 * t, np.uint8))
        mask = np.zeros((24, 32), np.uint8)
        mask[5 : 5 + t + 1, 10:20] = 255
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            write_png(folder / "masks" / f"{t:05d}.png", mask)
    if joints is not None:
        (folder / "points_badja_240p.json").write_text(json.dumps(joints))
    return folder


def test_a_folder_with_joints_is_known_in_its_annotated_frames(tmp_path: Path):
    clips, left_out = find_clips(write_folder(tmp_path / "bear", JOINTS))
    assert [clip.name for clip in clips] == ["bear"]
    assert not left_out
    loaded = clips[0].load()
    truth = loaded.truth
    assert np.concatenate(list(loaded.chunks))[:, 0, 0, 0].tolist() == [0, 40, 80, 120]
    assert truth.known.tolist() == [[False, False], [True, False], [False, False], [True, True]]
    assert truth.visible.tolist() == truth.known.tolist()
    assert truth.xy[3].tolist() == [[6.0, 5.0], [20.0, 9.0]]
    assert truth.areas.tolist() == [10.0, 20.0, 30.0, 40.0]
    assert truth.sparse
    assert ask(truth, "first").queries.frame.tolist() == [1, 3]


def test_joints_of_another_size_are_scaled_about_the_corner_of_the_picture(tmp_path: Path):
    folder = write_folder(tmp_path / "bear", JOINTS | {"width": 64, "height": 48}, masks=False)
    truth = find_clips(folder)[0][0].load().truth
    np.testing.assert_allclose(truth.xy[3, 0], [6.5 / 2 - 0.5, 5.5 / 2 - 0.5])
    assert truth.areas is None


def test_a_rendered_clip_is_known_everywhere(tmp_path: Path):
    made = toybox_clip(3, frames=5, size=(64, 64), occluder=True)
    write_clip(made, tmp_path / "00003")
    clips, _ = find_clips(tmp_path)
    loaded = clips[0].load()
    np.testing.assert_array_equal(np.concatenate(list(loaded.chunks)), made.video.frames)
    np.testing.assert_allclose(loaded.truth.xy, made.tracks.xy, atol=1e-3)
    np.testing.assert_array_equal(loaded.truth.visible, made.tracks.visible)
    assert loaded.truth.names == made.tracks.names
    assert not loaded.truth.sparse


def test_a_pickle_gives_its_clips_and_a_folder_its_pickles(tmp_path: Path):
    one = {
        "video": np.zeros((3, 8, 8, 3), np.uint8),
        "points": np.full((2, 3, 2), 0.5, np.float32),
        "occluded": np.zeros((2, 3), bool),
    }
    (tmp_path / "davis.pkl").write_bytes(pickle.dumps({"goat": one, "cow": one}))
    (tmp_path / "kubric.pkl").write_bytes(pickle.dumps([one]))
    assert [clip.name for clip in find_clips(tmp_path / "davis.pkl")[0]] == ["goat", "cow"]
    clips, _ = find_clips(tmp_path)
    assert [clip.name for clip in clips] == ["goat", "cow", "kubric-00000"]
    loaded = clips[1].load()
    assert loaded.truth.xy[0, 0].tolist() == [3.5, 3.5]
    assert sum(map(len, loaded.chunks)) == 3


def test_a_pickle_and_a_folder_of_the_same_clip_are_judged_alike(tmp_path: Path):
    made = toybox_clip(3, frames=5, size=(64, 48), occluder=True)
    write_clip(made, tmp_path / "00003")
    shares = (made.tracks.xy.astype(np.float64) + 0.5) / (64, 48)
    one = {"video": made.video.frames, "points": shares.swapaxes(0, 1), "occluded": ~made.tracks.visible.T}
    (tmp_path / "same.pkl").write_bytes(pickle.dumps({"same": one}))
    folder, file = (clip.load() for clip in find_clips(tmp_path)[0])
    np.testing.assert_allclose(folder.truth.xy, file.truth.xy, atol=1e-3)
    np.testing.assert_array_equal(folder.truth.visible, file.truth.visible)
    np.testing.assert_array_equal(np.concatenate(list(folder.chunks)), np.concatenate(list(file.chunks)))


def test_a_video_is_tracked_where_there_is_nothing_else(shared: Path):
    (clip,), left_out = find_clips(shared / "clips" / "wolf.mp4")
    assert (clip.name, clip.judged, left_out) == ("wolf", False, [])
    assert len(ask(clip.load().truth, "first").queries.names) == 64


def test_clips_without_truth_are_left_out_where_others_have_it(tmp_path: Path):
    write_folder(tmp_path / "bear", JOINTS)
    write_folder(tmp_path / "rhino")
    (tmp_path / "notes.txt").write_text("")
    clips, left_out = find_clips(tmp_path)
    assert [clip.name for clip in clips] == ["bear"]
    assert left_out == ["rhino"]


def test_alone_they_are_tracked_from_a_grid_on_the_first_mask(tmp_path: Path):
    truth = find_clips(write_folder(tmp_path / "rhino"))[0][0].load().truth
    asked = ask(truth, "first").queries
    assert (asked.frame == 0).all()
    assert len(asked.names) == 64
    assert (asked.xy[:, 0] >= 10).all()
    assert (asked.xy[:, 0] <= 19).all()
    assert (asked.xy[:, 1] == 5).all()
    assert truth.known.sum() == 64


def test_two_clips_of_one_name_are_refused(tmp_path: Path):
    one = {"video": np.zeros((3, 8, 8, 3), np.uint8), "points": np.zeros((1, 3, 2)), "occluded": np.zeros((1, 3))}
    for name in ("a", "b"):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps({"goat": one}))
    with pytest.raises(InputError, match="'goat'"):
        find_clips(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_nothing_to_track_is_said_with_what_is_expected(name: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"--data .*{name}"):
        find_clips(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"frames": [1, 9]}, "frame 9 is beyond the end"),
        ({"frames": [1]}, "a row for each of the 1 frames"),
        ({"visible": [[True], [True]]}, "2 entries in each row"),
        ({"names": ["nose", "nose"]}, "more than once"),
        ({"width": 0}, "width"),
        ({"xy": [[[4.0], None], [None, None]]}, "xy.0.0"),
        ({"xy": [[[4.0, float("nan")], None], [None, None]]}, "xy.0.0"),
    ],
)
def test_a_wrong_annotation_is_named_with_its_file(change: dict[str, Any], problem: str, tmp_path: Path):
    (clip,) = find_clips(write_folder(tmp_path / "bear", JOINTS | change))[0]
    with pytest.raises(InputError, match=rf"points_badja_240p\.json.*{problem}"):
        clip.load()


def test_masks_of_another_number_are_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "bear", JOINTS)
    (folder / "masks" / "00003.png").unlink()
    with pytest.raises(InputError, match=r"masks.*3 masks; give 4"):
        find_clips(folder)[0][0].load()


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def test_by_default_what_needs_options_is_left_out_with_a_line(registry: Registry):
    pytest.importorskip("cv2")
    found, left_out = contenders(None, (), registry)
    assert "lucas-kanade" in [contender.name for contender in found]
    assert not any(contender.asked_for for contender in found)
    assert all(line.count("\n") == 0 for line in left_out)
    assert any(line.startswith("file: ") for line in left_out)


def test_options_come_from_a_file_and_from_set_and_count_in_the_key(registry: Registry, tmp_path: Path):
    pytest.importorskip("cv2")
    (tmp_path / "wide.yaml").write_text("{name: lucas-kanade, window: 21}\n")
    (tmp_path / "whole.yaml").write_text("tracker: {name: lucas-kanade, window: 21}\nseed: 0\n")
    names = f"lucas-kanade,{tmp_path / 'wide.yaml'},{tmp_path / 'whole.yaml'}"
    plain, wide, whole = contenders(names, (), registry)[0]
    assert [plain.name, wide.name, whole.name] == ["lucas-kanade", "wide", "whole"]
    assert wide.tracker.options.window == 21
    assert plain.key() != wide.key() == whole.key()
    changed = contenders("lucas-kanade", ("tracker.window=21", "device=cuda:1"), registry)[0][0]
    assert changed.tracker.options.window == 21
    assert changed.settings.device == "cuda:1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name: lucas-kanade, windw: 3}", "windw"),
        ("{name: lucas-kanad}", "did you mean 'lucas-kanade'"),
        ("tracker: lucas-kanade", "tracker: expected a name"),
        ("{tracker: {name: lucas-kanade}, devise: cpu}", "devise"),
        ("{tracker: {name: lucas-kanade}, device: tpu}", "device"),
        ("[1]", "expected `name"),
        ("a: [", "YAML"),
    ],
)
def test_a_wrong_file_of_options_is_named(text: str, problem: str, registry: Registry, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"mine\.yaml.*{problem}"):
        contenders(str(tmp_path / "mine.yaml"), (), registry)


@pytest.mark.parametrize(
    ("names", "change", "problem"),
    [
        ("lucas-kanade,lucas-kanade", (), "more than once"),
        (" , ", (), "none is named"),
        ("nobody", (), "unknown tracker 'nobody'"),
        ("lucas-kanade", ("window",), "--set window"),
        ("lucas-kanade", ("traker.window=3",), "--set"),
        ("lucas-kanade", ("tracker.window=[",), "YAML"),
        ("missing.yaml", (), "missing.yaml"),
    ],
)
def test_a_wrong_request_is_told_in_a_line(names: str, change: tuple[str, ...], problem: str, registry: Registry):
    with pytest.raises((ConfigError, InputError), match=problem):
        contenders(names, change, registry)


def test_a_tracker_that_works_with_others_gets_them_from_a_file(tmp_path: Path):
    registry = Registry()
    registry.add(lambda: known_trackers, "known", "vswap-known", "1")
    with pytest.raises(PluginError, match=r"borrowing: works with backbone.*unmakeable: needs no_such_package"):
        contenders(None, (), registry)
    with pytest.raises(ConfigError, match="family backbone"):
        contenders("borrowing", (), registry)
    (tmp_path / "pair.yaml").write_text("{tracker: {name: borrowing}, backbone: {name: lent, shift: [1, 2]}}")
    (pair,), _ = contenders(str(tmp_path / "pair.yaml"), (), registry)
    assert pair.families["backbone"].options.shift == (1, 2)
