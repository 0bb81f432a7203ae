"""The layered atlas of `preset: reference` against the recorded reference: networks, propagation, and training."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

import numpy as np
from safetensors.torch import load_file

from vswap_canonical.flow_pairs import FlowPairs
from vswap_canonical.layered_atlas import LayeredAtlas
from vswap_canonical.reference.checkpoint import REFERENCE_NAMES, read_reference_checkpoint, settings_of_reference
from vswap_canonical.reference.losses import WEIGHTS, ReferenceClip, inverse_loss, reference_losses, total_loss
from vswap_canonical.reference.propagation import carry_points, forward_jacobian, reference_displacement
from vswap_canonical.reference.render import ReferenceGrid
from vswap_canonical.reference.training import ReferenceTraining
from vswap_canonical.register import LayeredAtlasOptions
from vswap_kernel.api import Context
from vswap_kernel.types import PointEdit, PointTracks, Video

FORWARD = 2e-5  # the recordings' own tolerance for a single forward
PIXELS = 1e-3  # of the same, magnified by half the frame's size
SLOPES = 5e-4  # relative, of a move that went through two finite differences
# relative, for the losses of an iteration: at first, and its growth with each. Adam turns rounding errors of small
# gradients into whole steps: weights changed by 6e-8 of themselves changed the losses of the fifth iteration by up to
# 9e-4, and its inverse loss by 2e-2. A wrong gradient shows far above it: one through the skips puts them 1e-2 and 1e-1
# off in the second
TRAINED = (1e-4, 2.5)
INVERSE_TRAINED = (1e-4, 5.0)
RECORDED = {
    "colour": "rgb_loss",
    "gradient": "gradient_loss",
    "bootstrap": "alpha_loss",
    "sparsity": "sparsity_loss",
    "rigidity_foreground": "rigidity_loss_fg",
    "rigidity_background": "rigidity_loss_bg",
    "global_rigidity_foreground": "global_rigidity_loss_fg",
    "global_rigidity_background": "global_rigidity_loss_bg",
    "flow_foreground": "flow_loss_fg",
    "flow_background": "flow_loss_bg",
    "flow_opacity": "flow_alpha_loss",
}


@pytest.fixture(scope="module")
def recorded(golden, recording):
    if not (golden / "atlas_io.safetensors").is_file():
        pytest.skip(f"{golden} has no recording of an atlas (atlas_io)")
    return recording("atlas_io")


@pytest.fixture
def networks(golden, recorded):
    return read_reference_checkpoint(golden / "atlas_tiny.pth")


@pytest.fixture(scope="module")
def grid(recorded):
    about = recorded[1]
    return ReferenceGrid(tuple(about["size_wh"]), about["frames"])


@pytest.fixture(scope="module")
def asked(recorded):
    """(source, target) float32 [N, 2], x first, of the dragged points: the annotations are y first."""
    about = recorded[1]
    places = [[about[which][name] for name in about["target_order"]] for which in ("source", "target")]
    source, target = torch.tensor(places, dtype=torch.float32).flip(-1)
    return source, target


@pytest.fixture
def carried(networks, grid, asked, recorded):
    return carry_points(networks, grid, *asked, recorded[1]["keyframe"])


@pytest.fixture(scope="module")
def names(golden):
    """The tracks' point names, in their order."""
    numbers = torch.load(golden / "atlas" / "TAP.pth", weights_only=True)["point_name2id"]
    return tuple(sorted(numbers, key=numbers.get))


def within(tolerance, iteration=0):
    first, growth = tolerance
    return first * growth**iteration


def allowed(carried):
    """By how many pixels each place may be off, [F, N, 2]."""
    return PIXELS + SLOPES * carried.move.norm(dim=-1, keepdim=True)


def rounding_slack(carried, recorded):
    """[F, N, 2]: 1 where the recorded place is nearer to a half than we are allowed to be off, else 0."""
    xy = recorded[0]["unrounded_xy"]
    return ((xy - xy.floor() - 0.5).abs() <= allowed(carried)).float()


def recorded_moves(recorded):
    tensors, about = recorded
    return torch.stack([tensors[f"delta_{index}"] for index in range(len(about["target_order"]))], 1)


@pytest.fixture(scope="module")
def batch(golden, recorded, grid):
    """(clip, samples): the batch that the recorded iterations share, with its flow put together from masks."""
    tensors, about = recorded
    (width, height), count = grid.size, grid.frames

    def mask(name):
        bits = np.unpackbits(tensors[name].numpy())[: height * width * count]
        return bits.reshape(height, width, count).transpose(2, 0, 1)

    subject = mask("train_mask_packbits").astype(np.float32)
    step = np.array([[about["fx"], fy] for fy in about["fy"]], np.float32)[:, None, None]
    holds, back_holds = mask("train_flow_mask_packbits") > 0, mask("train_flow_reverse_mask_packbits") > 0
    flow = FlowPairs(1, subject[:-1, ..., None] * step, -subject[1:, ..., None] * step, holds[:-1], back_holds[1:])
    frames = load_file(golden / "dift_io.safetensors")["frames_u8"].numpy()
    assert frames.shape == (count, height, width, 3)
    return ReferenceClip.of(frames, subject, flow), tensors["train_jif"].long()


def test_shapes_told_by_the_weights_are_those_of_the_recorded_options(networks, recorded):
    assert networks.settings == settings_of_reference(recorded[1]["models"])


@pytest.mark.parametrize("name", REFERENCE_NAMES)
def test_a_network_gives_what_the_reference_s_gave(networks, recorded, name):
    tensors, about = recorded
    theirs = REFERENCE_NAMES[name]
    places = tensors["probe_in"][:, : about["models"][theirs]["input_dim"]]
    with torch.no_grad():
        given = networks.get_submodule(name)(places)
    torch.testing.assert_close(given, tensors[f"probe_{theirs}"], rtol=0, atol=FORWARD)


def test_finite_differences_of_the_mapping(networks, recorded):
    tensors = recorded[0]
    with torch.no_grad():
        jacobian = forward_jacobian(networks.foreground_mapping, tensors["probe_in"])
    # over a step of .05, 2e-5 in a value is 4e-4 in a slope
    torch.testing.assert_close(jacobian.transpose(1, 2), tensors["probe_Wm"], rtol=0, atol=FORWARD / 0.05)


def test_the_drag_s_part_of_each_place(carried, recorded, grid):
    torch.testing.assert_close(carried.move / grid.half, recorded_moves(recorded), rtol=SLOPES, atol=FORWARD)


def test_places_before_rounding(carried, recorded):
    wanted = recorded[0]["unrounded_xy"]
    assert ((carried.xy - wanted).abs() <= allowed(carried)).all(), (carried.xy - wanted).abs().max()


def test_opacity(carried, recorded):
    tensors, about = recorded
    assert about["alpha_margin"] > FORWARD
    torch.testing.assert_close(carried.opacity, tensors["alpha"], rtol=0, atol=FORWARD)


def test_tracks_come_out_exactly(carried, recorded, names):
    tensors, about = recorded
    tracks = tensors["tracks_in"].clone()
    for index, name in enumerate(about["target_order"]):
        seen = carried.visible[:, index, None]
        tracks[:, names.index(name)] = torch.where(seen, carried.xy[:, index].round(), -1.0)
    slack = torch.zeros_like(tracks)
    slack[:, [names.index(name) for name in about["target_order"]]] = rounding_slack(carried, recorded)
    assert ((tracks - tensors["tracks_out"]).abs() <= slack).all()
    assert int((tracks >= 0).all(-1).sum()) == about["visible_out"]


def test_an_edit_becomes_a_displacement_of_the_tracks(networks, recorded, grid, asked, names, carried):
    tensors, about = recorded
    moved, keyframe = about["target_order"], about["keyframe"]
    xy = tensors["tracks_in"].numpy().copy()
    index = [names.index(name) for name in moved]
    xy[keyframe, index] = asked[0].numpy()
    seen = np.ones(xy.shape[:2], bool)
    tracks = PointTracks(names, xy, seen, seen.astype(np.float32), grid.size)
    edit = PointEdit(keyframe, dict(zip(moved, map(tuple, asked[1].tolist()), strict=True)))
    field = reference_displacement(networks, tracks, edit)

    wanted = tensors["tracks_out"][:, index].numpy()
    visible = (tensors["alpha"] > 0.5).numpy()
    np.testing.assert_array_equal(field.valid[:, index], visible)
    off = np.abs((xy + field.delta)[:, index] - wanted)[visible]
    assert (off <= rounding_slack(carried, recorded).numpy()[visible] + 1e-3).all()
    still = [i for i in range(len(names)) if i not in index]
    assert not field.delta[:, still].any()


def test_the_component_reads_the_checkpoint_and_moves_points_as_the_reference_does(
    golden, recorded, grid, asked, names, carried, tmp_path
):
    tensors, about = recorded
    moved, keyframe = about["target_order"], about["keyframe"]
    index = [names.index(name) for name in moved]
    xy = tensors["tracks_in"].numpy().copy()
    xy[keyframe, index] = asked[0].numpy()
    seen = np.ones(xy.shape[:2], bool)
    tracks = PointTracks(names, xy, seen, seen.astype(np.float32), grid.size)
    edit = PointEdit(keyframe, dict(zip(moved, map(tuple, asked[1].tolist()), strict=True)))
    video = Video(np.zeros((grid.frames, *grid.size[::-1], 3), np.uint8), 8.0)

    options = LayeredAtlasOptions(preset="reference", weights=golden / "atlas_tiny.pth")
    atlas = LayeredAtlas(options, Context(tmp_path))
    atlas.fit(video, None, tracks, tmp_path)
    field = atlas.propagate(tmp_path, tracks, edit)

    visible = (tensors["alpha"] > 0.5).numpy()
    np.testing.assert_array_equal(field.valid[:, index], visible)
    off = np.abs((xy + field.delta)[:, index] - tensors["tracks_out"][:, index].numpy())[visible]
    assert (off <= rounding_slack(carried, recorded).numpy()[visible] + 1e-3).all()


def test_the_losses_of_one_batch(networks, batch, recorded):
    first = recorded[1]["train_same_batch_5_adam_steps_lr1e-4"][0]
    with torch.no_grad():
        found = reference_losses(networks, *batch)
    assert found.keys() == RECORDED.keys() == WEIGHTS.keys()
    for name, value in found.items():
        assert value.item() == pytest.approx(first[RECORDED[name]], rel=within(TRAINED)), name
    assert total_loss(found).item() == pytest.approx(first["total"], rel=within(TRAINED))


def test_the_inverse_learns_within_the_mask_from_the_mapping_as_it_became(networks, batch, recorded):
    """Before the step its loss is another one."""
    first = recorded[1]["train_same_batch_5_adam_steps_lr1e-4"][0]["fg_inv_loss"]
    before = inverse_loss(networks, *batch).item()
    after = ReferenceTraining(networks, batch[0]).step(batch[1])["inverse"]
    assert after == pytest.approx(first, rel=within(INVERSE_TRAINED))
    assert abs(before - after) > 10 * abs(after - first)


def test_training_takes_the_recorded_course(networks, batch, recorded):
    clip, samples = batch
    training = ReferenceTraining(networks, clip)
    for iteration, wanted in enumerate(recorded[1]["train_same_batch_5_adam_steps_lr1e-4"]):
        told = training.step(samples)
        where = f"iteration {iteration}"
        assert told["total"] == pytest.approx(wanted["total"], rel=within(TRAINED, iteration)), where
        inverse = pytest.approx(wanted["fg_inv_loss"], rel=within(INVERSE_TRAINED, iteration))
        assert told["inverse"] == inverse, where
        for name, theirs in RECORDED.items():
            assert told[name] == pytest.approx(wanted[theirs], rel=within(TRAINED, iteration)), f"{where}: {theirs}"
