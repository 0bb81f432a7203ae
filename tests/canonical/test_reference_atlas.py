from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from vswap_canonical.flow_pairs import FlowPairs
from vswap_canonical.reference.fit import CHECKPOINT, ReferenceAtlas, mean_psnr, read_fitted, write_fitted
from vswap_canonical.reference.losses import ReferenceClip, inverse_loss, reference_losses, total_loss
from vswap_canonical.reference.networks import NetworkSettings, ReferenceNetworks
from vswap_canonical.reference.propagation import carry_points, reference_displacement
from vswap_canonical.reference.render import ReferenceGrid, render, render_frame
from vswap_canonical.reference.training import ReferenceSchedule
from vswap_kernel.api import Context
from vswap_kernel.errors import InputError, StoreError
from vswap_kernel.types import Masks, PointEdit, PointTracks, Video

SMALL = {
    "foreground_mapping": NetworkSettings(4, 24, 2, (2,)),
    "foreground_inverse": NetworkSettings(3, 24),
    "background_mapping": NetworkSettings(3, 16),
    "atlas": NetworkSettings(4, 32, 5, (2, 3)),
    "opacity": NetworkSettings(4, 24, 3),
}
WIDTH, HEIGHT, FRAMES = 48, 32, 4
SHORT = ReferenceSchedule(iterations=200, batch=200, pretraining=100, bootstrapping=150, global_rigidity=80)


def seeded(seed: int = 0) -> ReferenceNetworks:
    torch.manual_seed(seed)
    return ReferenceNetworks(SMALL)


def moving_square() -> tuple[Video, Masks, PointTracks]:
    """A bright striped square of 12 pixels that moves by (3, 1) a frame over a dark slope, and its four corners."""
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = (np.arange(WIDTH)[:, None] * (1, 2, 1)).astype(np.uint8)
    masks = np.zeros(frames.shape[:3], np.uint8)
    stripes = 120 + 100 * (np.indices((12, 12)).sum(0) // 3 % 2)
    corners = []
    for t in range(FRAMES):
        x, y = 6 + 3 * t, 8 + t
        frames[t, y : y + 12, x : x + 12] = stripes[..., None] * np.array((1.0, 0.8, 0.5))
        masks[t, y : y + 12, x : x + 12] = 255
        corners.append([(x, y), (x + 11, y), (x, y + 11), (x + 11, y + 11)])
    seen = np.ones((FRAMES, 4), bool)
    xy = np.array(corners, np.float32)
    tracks = PointTracks(("nw", "ne", "sw", "se"), xy, seen, seen.astype(np.float32), (WIDTH, HEIGHT))
    return Video(frames, 25.0), Masks(masks), tracks


def clip_of(video: Video, masks: Masks, holds: bool = True) -> ReferenceClip:
    flow = np.zeros((FRAMES - 1, HEIGHT, WIDTH, 2), np.float32)
    flow[...] = (3, 1)
    there = np.full(flow.shape[:3], holds)
    return ReferenceClip.of(
        video.frames, masks.frames.astype(np.float32) / np.float32(255), FlowPairs(1, flow, -flow, there, there)
    )


def every_pixel() -> torch.Tensor:
    frame, y, x = np.indices((FRAMES, HEIGHT, WIDTH)).reshape(3, -1)
    return torch.from_numpy(np.stack([x, y, frame]))


def test_skips_see_the_encoded_input_again_and_let_no_gradient_through() -> None:
    network = seeded().atlas
    assert [layer.in_features for layer in network.hidden] == [20, 32, 52, 52]
    with torch.no_grad():
        for layer in list(network.hidden)[:-1]:
            layer.weight.zero_()
    places = torch.rand(5, 2, requires_grad=True)
    given = network(places)
    assert len({*given[:, 0].tolist()}) == 5
    # nothing but the skip into the last layer depends on the places here
    assert not torch.autograd.grad(given.sum(), places)[0].any()


def test_both_layers_have_their_own_quarter_of_the_atlas() -> None:
    networks = seeded()
    seen: list[torch.Tensor] = []
    networks.atlas.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    render(networks, torch.rand(200, 3) * 2 - 1)
    assert (seen[0] >= 0).all()
    assert (seen[0] <= 1).all()
    assert (seen[1] >= -1).all()
    assert (seen[1] <= 0).all()


def test_a_frame_is_rendered_in_parts_with_the_same_result() -> None:
    networks, grid = seeded(), ReferenceGrid((WIDTH, HEIGHT), FRAMES)
    whole, parts = render_frame(networks, grid, 2), render_frame(networks, grid, 2, at_once=100)
    torch.testing.assert_close(whole.colour, parts.colour)
    x, y = 7, 11
    with torch.no_grad():
        one = render(networks, torch.tensor([[x / 24 - 1, y / 24 - 1, 2 / 2 - 1]]))
    torch.testing.assert_close(whole.colour[y * WIDTH + x], one.colour[0])
    assert whole.opacity.shape == (HEIGHT * WIDTH, 1)


class Linear(torch.nn.Module):
    """[N, 3] to [N, outputs]: a matrix and an offset."""

    def __init__(self, matrix: list[list[float]]) -> None:
        super().__init__()
        self.matrix = torch.tensor(matrix, dtype=torch.float32)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        return places @ self.matrix.T


def following() -> ReferenceNetworks:
    """The exact mappings of something that moves by (3, 1) pixels a frame: a frame is 1/2 in time, a pixel 1/24."""
    networks = seeded()
    networks.foreground_mapping = Linear([[0.8, 0, -0.8 * 0.25], [0, 0.8, -0.8 / 12]])  # type: ignore[assignment]
    networks.foreground_inverse = Linear([[1.25, 0, 0.25], [0, 1.25, 1 / 12], [0, 0, 1]])  # type: ignore[assignment]
    networks.opacity = Linear([[0, 0, 0]])  # type: ignore[assignment]
    return networks


def test_a_mapping_that_follows_the_motion_has_no_flow_loss_and_is_rigid() -> None:
    video, masks, _ = moving_square()
    found = reference_losses(following(), clip_of(video, masks), every_pixel())
    assert found["flow_foreground"].item() == pytest.approx(0, abs=1e-4)
    assert found["flow_background"].item() > 0.1
    for prefix in ("", "global_"):
        least = 2 * math.sqrt(2)
        assert found[f"{prefix}rigidity_foreground"].item() == pytest.approx(least, abs=0.01)
    assert found["flow_opacity"].item() == 0
    assert inverse_loss(following(), clip_of(video, masks), every_pixel()).item() == pytest.approx(0, abs=1e-5)


def test_where_no_flow_holds_and_nothing_is_masked_the_losses_are_zero_and_finite() -> None:
    video, masks, _ = moving_square()
    nothing = clip_of(video, Masks(np.zeros_like(masks.frames)), holds=False)
    found = reference_losses(seeded(), nothing, every_pixel())
    assert [found[f"flow_{layer}"].item() for layer in ("foreground", "background", "opacity")] == [0, 0, 0]
    assert torch.isfinite(total_loss(found))
    assert inverse_loss(seeded(), nothing, every_pixel()) is None


def test_only_the_first_iterations_bootstrap_and_ask_for_global_rigidity() -> None:
    video, masks, _ = moving_square()
    found = reference_losses(seeded(), clip_of(video, masks), every_pixel())
    whole, late = total_loss(found), total_loss(found, bootstrapping=False, global_rigidity=False)
    least = 2000 * found["bootstrap"]
    least = least + 5 * found["global_rigidity_foreground"] + 50 * found["global_rigidity_background"]
    torch.testing.assert_close(whole - late, least)


def test_a_drag_follows_an_exact_atlas_and_is_hidden_where_the_opacity_is_half() -> None:
    networks, grid = following(), ReferenceGrid((WIDTH, HEIGHT), FRAMES)
    source, target = torch.tensor([[10.0, 9.0], [20.0, 12.0]]), torch.tensor([[12.5, 4.0], [20.0, 12.0]])
    carried = carry_points(networks, grid, source, target, 1)
    since = torch.arange(FRAMES)[:, None, None] - 1
    torch.testing.assert_close(carried.xy, target + since * torch.tensor([3.0, 1.0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(carried.move, (target - source).expand(FRAMES, -1, -1), rtol=0, atol=1e-4)
    assert not carried.visible.any()
    networks.opacity = Linear([[0.1, 0, 0]])  # type: ignore[assignment]
    seen = carry_points(networks, grid, source, target, 1).visible
    assert seen.tolist() == [
        [False, False],
        [False, False],
        [False, False],
        [False, True],
    ]  # right of the middle, x = 24


def test_points_and_frames_at_once_are_as_each_by_itself() -> None:
    networks, grid = seeded(), ReferenceGrid((WIDTH, HEIGHT), FRAMES)
    source = torch.tensor([[3.0, 9.0], [20.0, 12.0], [40.0, 30.0]])
    target = source + torch.tensor([[2.0, -1.0], [0.0, 5.0], [-4.0, 4.0]])
    carried = carry_points(networks, grid, source, target, 2)
    half = WIDTH / 2
    for n in range(3):
        start = torch.tensor([[source[n, 0] / half - 1, source[n, 1] / half - 1, 2 / 2 - 1]])
        with torch.no_grad():
            uv = networks.foreground_mapping(start)
            for t in range(FRAMES):
                here = torch.cat([uv, torch.tensor([[t / 2 - 1]])], 1)
                move = (target[n] - source[n]) / half
                for network, at in ((networks.foreground_mapping, start), (networks.foreground_inverse, here)):
                    by_x = (network(at + torch.tensor([0.1, 0, 0])) - network(at))[0, :2] / 0.1
                    by_y = (network(at + torch.tensor([0, 0.05, 0])) - network(at))[0, :2] / 0.05
                    move = move[0] * by_x + move[1] * by_y
                returned = networks.foreground_inverse(here)
                torch.testing.assert_close(carried.xy[t, n], (returned[0, :2] + move + 1) * half, rtol=0, atol=1e-3)
                opacity = (networks.opacity(returned)[0, 0] + 1) / 2
                torch.testing.assert_close(carried.opacity[t, n], opacity)


def test_an_edit_moves_only_its_points_to_whole_pixels_or_not() -> None:
    networks = following()
    networks.opacity = Linear([[0.1, 0, 0]])  # type: ignore[assignment]
    _, _, tracks = moving_square()
    edit = PointEdit(1, {"se": (22.4, 18.3), "nw": (9.0, 9.0)})
    exact = reference_displacement(networks, tracks, edit, whole_pixels=False)
    np.testing.assert_allclose(exact.delta[:, 3], np.tile(np.array([22.4, 18.3]) - tracks.xy[1, 3], (4, 1)), atol=1e-3)
    np.testing.assert_allclose(exact.delta[:, 0], 0, atol=1e-3)
    rounded = reference_displacement(networks, tracks, edit)
    np.testing.assert_array_equal(rounded.delta[:, 3], np.round(tracks.xy[:, 3] + exact.delta[:, 3]) - tracks.xy[:, 3])
    assert not rounded.delta[:, 1:3].any()
    assert rounded.valid[:, 1:3].all()
    assert not rounded.valid[0, 0]
    assert rounded.valid[3, 3]
    with pytest.raises(InputError, match="no point 'west'"):
        reference_displacement(networks, tracks, PointEdit(0, {"west": (1.0, 1.0)}))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "fitted").mkdir()
    return tmp_path / "fitted"


def atlas(scratch: Path, schedule: ReferenceSchedule = SHORT, **context: object) -> ReferenceAtlas:
    """A checkpoint is written with each iteration of all but the longest fit."""
    seconds = 60 if schedule is SHORT else 0
    return ReferenceAtlas(Context(scratch, **context), schedule, networks=SMALL, checkpoint_seconds=seconds)


def test_a_fit_learns_the_clip_and_carries_a_drag(tmp_path: Path, out: Path) -> None:
    video, masks, tracks = moving_square()
    notes: list[str] = []
    atlas(tmp_path, progress=lambda done, total, note="": notes.append(note)).fit(video, masks, tracks, out)

    told = json.loads((out / "reference.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["networks.safetensors", "reference.json"]
    assert told["schedule"] == asdict(SHORT)
    clip = clip_of(video, masks)
    before, after = mean_psnr(seeded(), clip), mean_psnr(read_fitted(out)[0], clip)
    assert told["psnr"] == pytest.approx(after, abs=0.01)
    assert after > before + 3
    trained = [note for note in notes if note.startswith("PSNR")]
    first, last = (float(note.split()[-1]) for note in (trained[0], trained[-1]))
    assert last < first / 2
    assert any(note.startswith("mappings to the identity") for note in notes)

    edit = PointEdit(1, {"se": (22.0, 18.0)})
    field = atlas(tmp_path).propagate(out, tracks, edit)
    assert field.names == tracks.names
    assert np.isfinite(field.delta).all()
    places = tracks.xy[:, 3] + field.delta[:, 3]
    np.testing.assert_array_equal(places, places.round())
    assert not field.delta[:, :3].any()


def test_an_interrupted_fit_goes_on_and_ends_with_the_same_weights(tmp_path: Path, out: Path) -> None:
    video, masks, tracks = moving_square()
    schedule = ReferenceSchedule(30, 64, 10, 20, 15)
    (tmp_path / "whole").mkdir()
    (tmp_path / "scratch").mkdir()
    atlas(tmp_path / "scratch", schedule).fit(video, masks, tracks, tmp_path / "whole")
    (tmp_path / "scratch" / CHECKPOINT).unlink()

    def interrupt(done: int, total: int, note: str = "") -> None:
        if note.startswith("PSNR") and done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atlas(tmp_path / "scratch", schedule, progress=interrupt).fit(video, masks, tracks, out)
    told: list[str] = []
    atlas(tmp_path / "scratch", schedule, progress=lambda *now: told.append(now[2])).fit(video, masks, tracks, out)
    assert not any("identity" in note for note in told)
    for file in ("networks.safetensors", "reference.json"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_another_seed_gives_other_weights_and_the_global_random_state_stays(tmp_path: Path) -> None:
    video, masks, tracks = moving_square()
    weights = []
    state = torch.random.get_rng_state()
    for seed in (0, 1):
        scratch, out = tmp_path / f"scratch{seed}", tmp_path / f"out{seed}"
        scratch.mkdir()
        out.mkdir()
        atlas(scratch, ReferenceSchedule(2, 32, 2, 1, 1), seed=seed).fit(video, masks, tracks, out)
        weights.append((out / "networks.safetensors").read_bytes())
    assert weights[0] != weights[1]
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_refused(tmp_path: Path, out: Path) -> None:
    video, masks, tracks = moving_square()
    schedule = ReferenceSchedule(2, 32, 2, 1, 1)
    atlas(tmp_path, schedule).fit(video, masks, tracks, out)
    with pytest.raises(InputError, match=f"{CHECKPOINT}: a checkpoint of another fit"):
        atlas(tmp_path, replace(schedule, batch=33)).fit(video, masks, tracks, out)
    (tmp_path / CHECKPOINT).write_bytes(b"no")
    with pytest.raises(StoreError, match=f"{CHECKPOINT}: damaged"):
        atlas(tmp_path, schedule).fit(video, masks, tracks, out)


@pytest.mark.parametrize("case", ["none", "empty", "short", "one frame"])
def test_what_can_t_be_fitted_is_one_clear_line(tmp_path: Path, out: Path, case: str) -> None:
    video, masks, tracks = moving_square()
    given = {
        "none": (video, None, "masks: .* needs them"),
        "empty": (video, Masks(np.zeros_like(masks.frames)), "masks: empty in all frames"),
        "short": (video, Masks(masks.frames[1:].copy()), r"masks: \[3, 32, 48\] for a video of \[4, 32, 48\]"),
        "one frame": (Video(video.frames[:1].copy(), 25.0), Masks(masks.frames[:1].copy()), "video: one frame"),
    }
    with pytest.raises(InputError, match=given[case][2]):
        atlas(tmp_path).fit(given[case][0], given[case][1], tracks, out)


def test_tracks_of_another_video_and_a_damaged_folder_are_refused(tmp_path: Path, out: Path) -> None:
    _, _, tracks = moving_square()
    write_fitted(out, seeded(), ReferenceGrid((WIDTH, HEIGHT), FRAMES + 1))
    with pytest.raises(InputError, match="fitted to 5 frames of 48x32, and the tracks are of 4 of 48x32"):
        atlas(tmp_path).propagate(out, tracks, PointEdit())
    (out / "networks.safetensors").write_bytes(b"no")
    with pytest.raises(StoreError, match="not a fitted atlas of the reference"):
        atlas(tmp_path).propagate(out, tracks, PointEdit())
