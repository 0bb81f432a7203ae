from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

import small_raft
from turning_scene import FRAMES, KEYFRAME, scene, turn
from vswap_canonical.atlas import fit as atlas_fit
from vswap_canonical.atlas.clip import moving_subject
from vswap_canonical.atlas.files import FILE, read_atlas
from vswap_canonical.atlas.layer import Layer
from vswap_canonical.flow_pairs import flow_pairs
from vswap_canonical.layered_atlas import LayeredAtlas
from vswap_canonical.register import LayeredAtlasOptions
from vswap_kernel.api import Context
from vswap_kernel.errors import ConfigError, InputError, StoreError
from vswap_kernel.types import DisplacementField, Masks, PointEdit, PointTracks, Video

VIDEO, MASKS, TRACKS = scene(ground=1.5)
FEW = {"iterations": 10, "registrations": 1, "smooth": 0}
NO_TRACKS = replace(TRACKS, names=(), xy=TRACKS.xy[:, :0], visible=TRACKS.visible[:, :0],
                    confidence=TRACKS.confidence[:, :0])  # fmt: skip


def fitted(
    folder: Path, video: Video = VIDEO, masks: Masks | None = MASKS, tracks: PointTracks = TRACKS, **options: object
) -> Path:
    out, scratch = folder / "fitted", folder / "scratch"
    for made in (out, scratch):
        made.mkdir(parents=True, exist_ok=True)
    LayeredAtlas(LayeredAtlasOptions(**(FEW | options)), Context(scratch)).fit(video, masks, tracks, out)
    return out


def dragged(folder: Path, offset: tuple[float, float] = (6, -4), tracks: PointTracks = TRACKS) -> DisplacementField:
    x, y = (tracks.xy[KEYFRAME, 0] + offset).tolist()
    canonical = LayeredAtlas(LayeredAtlasOptions(**FEW), Context(folder))
    return canonical.propagate(folder, tracks, PointEdit(KEYFRAME, {tracks.names[0]: (x, y)}))


def error(field: DisplacementField, offset: tuple[float, float] = (6, -4)) -> float:
    exact = np.array([turn(t) @ offset for t in range(FRAMES)])
    return float(np.linalg.norm(field.delta[:, 0] - exact, axis=1).mean())


def bent_layer() -> Layer:
    torch.manual_seed(0)
    layer = Layer(torch.tensor([[3.0, 2.0, 20.0, 15.0], [1.0, 1.0, 30.0, 20.0]]), (5, 6))
    layer.control.data += 0.3 * torch.randn_like(layer.control)
    return layer


def test_a_new_map_is_the_identity_inside_its_window_and_outside() -> None:
    layer, xy = Layer(torch.tensor([[3.0, 2.0, 20.0, 15.0]]), (5, 6)), torch.rand(50, 2) * 60 - 20
    torch.testing.assert_close(layer.uv(torch.zeros(50, dtype=torch.long), xy), xy, atol=1e-4, rtol=0)


def test_the_jacobian_is_that_of_automatic_differentiation() -> None:
    layer, xy, frame = bent_layer(), (torch.rand(40, 2) * 30).requires_grad_(), torch.arange(40) % 2
    uv = layer.uv(frame, xy).sum(0)
    rows = [torch.autograd.grad(total, xy, retain_graph=True)[0] for total in uv]
    torch.testing.assert_close(layer.jacobian(frame, xy), torch.stack(rows, dim=1), atol=1e-4, rtol=1e-4)


def test_the_way_back_leads_to_where_it_started() -> None:
    layer, frame = bent_layer(), torch.arange(60) % 2
    xy = layer.windows[frame, :2] + torch.rand(60, 2) * layer.windows[frame, 2:]
    torch.testing.assert_close(layer.xy(frame, layer.uv(frame, xy)), xy, atol=1e-3, rtol=0)


def test_whole_rows_are_mapped_as_single_places_are() -> None:
    layer, rows, columns = bent_layer(), torch.tensor([[1, 5], [2, 9]]), torch.arange(28)
    frames = torch.tensor([1, 0])
    y, x = rows[:, :, None].expand(2, 2, 28), columns.expand(2, 2, 28)
    single = layer.uv(frames[:, None, None].expand(2, 2, 28).flatten(), torch.stack([x, y], -1).flatten(0, 2).float())
    torch.testing.assert_close(layer.uv_of_rows(frames, rows, columns).flatten(0, 2), single, atol=1e-4, rtol=1e-5)


def test_a_drag_turns_and_grows_with_the_subject(tmp_path: Path) -> None:
    field = dragged(fitted(tmp_path))
    assert error(field) < 0.4
    assert field.valid.all()
    np.testing.assert_array_equal(field.delta[KEYFRAME, 0], np.float32([6, -4]))
    assert not field.delta[:, 1:].any()


def test_without_tracked_points_to_tie_frames_together_the_flow_alone_carries_it(tmp_path: Path) -> None:
    assert error(dragged(fitted(tmp_path, tracks=NO_TRACKS))) < 0.8


def test_without_masks_the_subject_is_what_moves_otherwise_around_the_points(tmp_path: Path) -> None:
    found = moving_subject(flow_pairs(VIDEO.frames), TRACKS.xy, TRACKS.visible, VIDEO.frames.shape[:3])
    truth = MASKS.frames > 127
    assert (found & truth).sum() / (found | truth).sum() > 0.6
    assert error(dragged(fitted(tmp_path, masks=None))) < 1.0


def test_a_bad_track_of_five_does_not_bend_the_map(tmp_path: Path) -> None:
    xy = TRACKS.xy.copy()
    xy[:, 4] += np.linspace(0, 12, FRAMES, dtype=np.float32)[:, None]
    assert error(dragged(fitted(tmp_path, tracks=replace(TRACKS, xy=xy)))) < 1.0


def test_a_drag_of_a_point_that_something_passes_in_front_of_is_right_where_it_is_seen(tmp_path: Path) -> None:
    hidden, side = np.arange(12, 16), slice(20, 46)
    frames, masks, visible, xy = (np.array(x) for x in (VIDEO.frames, MASKS.frames, TRACKS.visible, TRACKS.xy))
    frames[hidden, :, side], masks[hidden, :, side] = 60, 0
    covered = (xy[hidden, :, 0] >= side.start - 0.5) & (xy[hidden, :, 0] < side.stop - 0.5)
    visible[hidden] = ~covered
    xy[hidden] = np.where(covered[..., None], xy[hidden] + 9, xy[hidden])
    assert covered[:, 0].all()
    assert not covered[:, 1].any()
    tracks = replace(TRACKS, xy=xy.astype(np.float32), visible=visible)
    field = dragged(fitted(tmp_path, Video(frames, VIDEO.fps), Masks(masks), tracks), tracks=tracks)
    assert np.flatnonzero(~field.valid[:, 0]).tolist() == hidden.tolist()
    exact = np.array([turn(t) @ (6, -4) for t in range(FRAMES)])
    assert np.linalg.norm(field.delta[:, 0] - exact, axis=1)[field.valid[:, 0]].mean() < 0.6


def test_the_joint_optimisation_gains_on_pixels_that_it_never_sees(tmp_path: Path) -> None:
    about = read_atlas(fitted(tmp_path, iterations=100) / FILE)[1]
    assert about["held_out"] > about["held_out_start"] + 1


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (fitted(tmp_path / name) for name in ("first", "again"))
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


def test_an_interrupted_fit_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas_fit, "_WRITE_EVERY", 0.0)
    monkeypatch.setattr(atlas_fit, "_CHECK_EVERY", 5)
    whole = fitted(tmp_path / "whole", iterations=12)
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    options, steps = LayeredAtlasOptions(**(FEW | {"iterations": 12})), []

    def interrupt(done: int, total: int, note: str = "") -> None:
        steps.append(done)
        if note.startswith("PSNR") and sum(step > 405 for step in steps) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LayeredAtlas(options, Context(scratch, progress=interrupt)).fit(VIDEO, MASKS, TRACKS, out)
    assert list(scratch.glob("*.safetensors"))
    LayeredAtlas(options, Context(scratch)).fit(VIDEO, MASKS, TRACKS, out)
    assert (out / FILE).read_bytes() == (whole / FILE).read_bytes()


def test_what_another_fit_left_in_the_scratch_folder_is_refused(tmp_path: Path) -> None:
    fitted(tmp_path)
    with pytest.raises(StoreError, match="another fit"):
        fitted(tmp_path, masks=Masks(255 - MASKS.frames))


def test_so_is_what_was_fitted_to_other_tracks(tmp_path: Path) -> None:
    fitted(tmp_path)
    with pytest.raises(StoreError, match="another fit"):
        fitted(tmp_path, tracks=replace(TRACKS, xy=TRACKS.xy + np.float32(1.5)))


def test_the_report_s_pictures_are_there_with_their_captions(tmp_path: Path) -> None:
    out = fitted(tmp_path)
    captions = json.loads((out / "pictures.json").read_text())
    assert list(captions) == ["atlas-subject.png", "atlas-background.png", "reconstruction.png"]
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in captions)


def test_empty_masks_are_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pixel of any frame is subject"):
        fitted(tmp_path, masks=Masks(np.zeros_like(MASKS.frames)))


@pytest.mark.parametrize("masks", [MASKS, None])
def test_one_frame_and_a_clip_that_stands_still_give_the_drag_itself(tmp_path: Path, masks: Masks | None) -> None:
    for name, count in (("one", 1), ("still", 4)):
        still = TRACKS.xy[[KEYFRAME] * count], np.ones((count, 5), bool), np.ones((count, 5), np.float32)
        tracks = PointTracks(TRACKS.names, *still, TRACKS.size)
        given = None if masks is None else Masks(masks.frames[[KEYFRAME] * count])
        out = fitted(tmp_path / name, Video(VIDEO.frames[[KEYFRAME] * count], 8.0), given, tracks)
        x, y = (tracks.xy[0, 0] + (6, -4)).tolist()
        field = LayeredAtlas(LayeredAtlasOptions(), Context(out)).propagate(out, tracks, PointEdit(0, {"a": (x, y)}))
        np.testing.assert_allclose(field.delta[:, 0], [[6, -4]] * count, atol=0.2)


def test_a_subject_that_fills_the_frame_is_a_layer_without_background(tmp_path: Path) -> None:
    out = fitted(tmp_path, masks=Masks(np.full_like(MASKS.frames, 255)), iterations=0)
    assert np.isfinite(dragged(out).delta).all()


def test_a_moved_point_off_the_atlas_subject_is_not_valid(tmp_path: Path) -> None:
    out, xy = fitted(tmp_path), TRACKS.xy.copy()
    xy[-1, 0] = (90, 5)
    assert dragged(out, tracks=replace(TRACKS, xy=xy)).valid[:, 0].tolist() == [True] * (FRAMES - 1) + [False]


def test_a_fitted_folder_of_another_video_and_a_damaged_one_are_named(tmp_path: Path) -> None:
    out = fitted(tmp_path)
    short = PointTracks(TRACKS.names, TRACKS.xy[:12], TRACKS.visible[:12], TRACKS.confidence[:12], TRACKS.size)
    with pytest.raises(StoreError, match="fitted to 20 frames"):
        dragged(out, tracks=short)
    (out / FILE).write_bytes(b"no atlas")
    with pytest.raises(StoreError, match="not a fitted atlas"):
        dragged(out)


def test_a_checkpoint_of_the_reference_needs_its_preset(tmp_path: Path) -> None:
    (tmp_path / "atlas.pth").touch()
    with pytest.raises(ConfigError, match="preset: reference"):
        LayeredAtlas(LayeredAtlasOptions(weights=tmp_path / "atlas.pth"), Context(tmp_path))


def test_the_flow_can_be_raft_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_raft.install(monkeypatch)
    torch.save({"shift": torch.zeros(2)}, tmp_path / "raft.pth")
    options = {"iterations": 0, "registrations": 0, "flow": "raft", "flow_weights": tmp_path / "raft.pth"}
    still = read_atlas(fitted(tmp_path / "raft", tracks=NO_TRACKS, **options) / FILE)[0].subject
    # nothing moves, says this one, so that a place stays itself in every frame
    place = torch.tensor([[48.0, 36.0]]).repeat(FRAMES, 1)
    torch.testing.assert_close(still.uv(torch.arange(FRAMES), place), place, atol=0.5, rtol=0)


def test_raft_needs_its_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs flow_weights"):
        LayeredAtlas(LayeredAtlasOptions(flow="raft"), Context(tmp_path))
