from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from turning_scene import FRAMES, KEYFRAME, NAMES, scene, turn
from vswap_canonical.flow import Flow
from vswap_canonical.flow_files import FlowFiles, write_flow
from vswap_canonical.keyframe import Keyframe
from vswap_canonical.register import FlowOptions
from vswap_kernel.api import Context, NoOptions, silent
from vswap_kernel.errors import InputError, StoreError
from vswap_kernel.types import DisplacementField, Masks, PointEdit, PointTracks, Video
from vswap_toybox.clip import drag
from vswap_toybox.evaluation.suites import moves, suite_clip

VIDEO, MASKS, TRACKS = scene(ground=1.5)


def exact(offset: tuple[float, float]) -> np.ndarray:
    return np.array([turn(t) @ offset for t in range(FRAMES)])


def moved(name: str, offset: tuple[float, float]) -> PointEdit:
    x, y = (TRACKS.xy[KEYFRAME, NAMES.index(name)] + offset).tolist()
    return PointEdit(KEYFRAME, {name: (x, y)})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    folders = {masked: tmp_path_factory.mktemp("fitted") for masked in (True, False)}
    for masked, folder in folders.items():
        Flow(FlowOptions(), Context(folder)).fit(VIDEO, MASKS if masked else None, TRACKS, folder)
    return folders


def propagate(folder: Path, tracks: PointTracks, edit: PointEdit, **options: float | str) -> DisplacementField:
    return Flow(FlowOptions.model_validate(options), Context(folder)).propagate(folder, tracks, edit)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("offset", [(0, -16), (-9, 6)], ids=["off the subject", "on the subject"])
@pytest.mark.parametrize("carry", ["frame", "place"])
def test_a_move_turns_and_grows_with_the_subject_though_the_ground_moves_the_other_way(
    fitted: dict[bool, Path], masked: bool, offset: tuple[float, float], carry: str
) -> None:
    field = propagate(fitted[masked], TRACKS, moved("b", offset), carry=carry)
    off = np.linalg.norm(field.delta[:, 1] - exact(offset), axis=1)
    assert off.max() < 1.0  # of 9 to 19 px, after ten frames to each side
    assert field.valid.all()
    assert not np.delete(field.delta, 1, axis=1).any()


def test_it_sees_a_turn_that_a_single_tracked_point_cannot_tell(fitted: dict[bool, Path]) -> None:
    tracks = TRACKS.subset(("e",))
    field = propagate(fitted[True], tracks, moved("e", (0, -12)), radius=1.5)
    plain = Keyframe(NoOptions(), Context(Path())).propagate(Path(), tracks, moved("e", (0, -12)))
    off, copied = (np.linalg.norm(each.delta[:, 0] - exact((0, -12)), axis=1).mean() for each in (field, plain))
    assert off < 0.3 * copied


def test_on_the_edited_frame_the_displacement_is_what_was_asked(fitted: dict[bool, Path]) -> None:
    field = propagate(fitted[True], TRACKS, moved("c", (7, 5)), smooth=3)
    np.testing.assert_allclose(field.delta[KEYFRAME, 2], (7, 5), atol=1e-4)


def test_a_hidden_point_is_not_valid_and_its_move_goes_on_behind_the_occluder(fitted: dict[bool, Path]) -> None:
    visible = TRACKS.visible.copy()
    visible[12:15, 1] = False
    xy = TRACKS.xy.copy()
    xy[12:15, 1] = (-60, -60)  # no subject anywhere near
    field = propagate(fitted[True], replace(TRACKS, xy=xy, visible=visible), moved("b", (0, -16)))
    assert np.flatnonzero(~field.valid[:, 1]).tolist() == [12, 13, 14, 15]  # 15: no flow led there from the point
    assert np.linalg.norm(field.delta[:, 1] - exact((0, -16)), axis=1).max() < 1.2


def test_beyond_a_step_that_nothing_tells_no_frame_is_valid(tmp_path: Path) -> None:
    cut = VIDEO.frames.copy()
    cut[14:] = np.random.default_rng(0).integers(0, 255, cut[14:].shape)
    visible = np.zeros(TRACKS.visible.shape, bool)
    visible[:, 1] = True
    tracks = replace(TRACKS, visible=visible)
    canonical = Flow(FlowOptions(max_error=0.3), Context(tmp_path))
    canonical.fit(Video(cut, 8.0), MASKS, tracks, tmp_path)
    field = canonical.propagate(tmp_path, tracks, moved("b", (0, -16)))
    assert np.flatnonzero(field.valid[:, 1]).tolist() == list(range(14))


def test_a_static_clip_gives_the_move_itself(tmp_path: Path) -> None:
    video = Video(VIDEO.frames[:1].repeat(4, 0), 8.0)
    tracks = replace(
        TRACKS, **{name: getattr(TRACKS, name)[:1].repeat(4, 0) for name in ("xy", "visible", "confidence")}
    )
    canonical = Flow(FlowOptions(), Context(tmp_path))
    canonical.fit(video, None, tracks, tmp_path)
    x, y = (tracks.xy[0, 0] + (3, -9)).tolist()
    field = canonical.propagate(tmp_path, tracks, PointEdit(2, {"a": (x, y)}))
    np.testing.assert_allclose(field.delta[:, 0], np.tile([3, -9], (4, 1)), atol=0.02)


def test_one_frame_is_enough(tmp_path: Path) -> None:
    tracks = replace(TRACKS, **{name: getattr(TRACKS, name)[:1] for name in ("xy", "visible", "confidence")})
    canonical = Flow(FlowOptions(), Context(tmp_path))
    canonical.fit(Video(VIDEO.frames[:1], 8.0), Masks(MASKS.frames[:1]), tracks, tmp_path)
    x, y = (tracks.xy[0, 0] + (3, -9)).tolist()
    np.testing.assert_allclose(
        canonical.propagate(tmp_path, tracks, PointEdit(0, {"a": (x, y)})).delta[0, 0], (3, -9), atol=1e-4
    )


def test_a_large_video_is_scaled_and_displacements_are_its_own_pixels(tmp_path: Path) -> None:
    video = Video(VIDEO.frames.repeat(2, 1).repeat(2, 2), 8.0)
    tracks = replace(TRACKS, xy=TRACKS.xy * 2 + 0.5, size=(192, 144))
    canonical = Flow(FlowOptions(short_side=72), Context(tmp_path))
    canonical.fit(video, None, tracks, tmp_path)
    x, y = (tracks.xy[KEYFRAME, 1] + (0, -32)).tolist()
    field = canonical.propagate(tmp_path, tracks, PointEdit(KEYFRAME, {"b": (x, y)}))
    assert np.linalg.norm(field.delta[:, 1] - exact((0, -32)), axis=1).max() < 2.0


def test_what_is_stored_is_the_flow_both_ways_and_the_subject(tmp_path: Path) -> None:
    write_flow(VIDEO, MASKS, tmp_path, 240, silent)
    forwards, backwards = (list(FlowFiles(tmp_path).steps(KEYFRAME, way)) for way in (1, -1))
    assert [(step.start, step.end) for step in forwards] == [(t, t + 1) for t in range(KEYFRAME, FRAMES - 1)]
    assert [(step.start, step.end) for step in backwards] == [(t, t - 1) for t in range(KEYFRAME, 0, -1)]
    np.testing.assert_array_equal(forwards[3].subject, MASKS.frames[KEYFRAME + 3] > 0)
    x, y = TRACKS.xy[KEYFRAME, 4].round().astype(int)
    for step in (forwards[0], backwards[0]):
        np.testing.assert_allclose(step.ahead[y, x], TRACKS.xy[step.end, 4] - TRACKS.xy[step.start, 4], atol=0.3)
        np.testing.assert_allclose(step.ahead[y, x], -step.back[y, x], atol=0.3)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size < 1.1 * (8 * 96 * 72 * (FRAMES - 1) + 96 * 72 * FRAMES / 8)


def test_tracks_of_another_length_and_a_folder_without_flow_are_refused(
    fitted: dict[bool, Path], tmp_path: Path
) -> None:
    short = replace(TRACKS, **{name: getattr(TRACKS, name)[:12] for name in ("xy", "visible", "confidence")})
    with pytest.raises(InputError, match="fitted to 20 frames, but the tracks have 12"):
        propagate(fitted[True], short, moved("a", (1, 1)))
    with pytest.raises(StoreError, match="not a fitted canonical 'flow'"):
        propagate(tmp_path, TRACKS, moved("a", (1, 1)))
    shutil.copytree(fitted[True], tmp_path / "cut")
    (tmp_path / "cut" / "flow-00001.safetensors").write_bytes(b"cut")
    with pytest.raises(StoreError, match="flow-00001"):
        propagate(tmp_path / "cut", TRACKS, moved("a", (1, 1)))


def test_on_exact_drags_of_the_toybox_it_is_much_nearer_than_keyframe(tmp_path: Path) -> None:
    error: dict[str, list[float]] = {"flow": [], "keyframe": []}
    for index in range(4):
        clip = suite_clip("toybox/shape-change", 1, index, (64, 64))
        places = moves("toybox/shape-change", clip)
        edit, truth = PointEdit(clip.keyframe, places), drag(clip, places).delta
        folder = tmp_path / str(index)
        folder.mkdir()
        canonical = Flow(FlowOptions(), Context(folder))
        canonical.fit(clip.video, clip.masks, clip.tracks, folder)
        plain = Keyframe(NoOptions(), Context(Path())).propagate(Path(), clip.tracks, edit)
        for name, field in (("flow", canonical.propagate(folder, clip.tracks, edit)), ("keyframe", plain)):
            error[name] += np.linalg.norm(field.delta - truth, axis=-1)[clip.tracks.visible].tolist()
    assert np.mean(error["flow"]) < 0.5 * np.mean(error["keyframe"])
