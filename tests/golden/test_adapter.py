"""The point adapter's maps and loss masks against the recorded reference."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np
import yaml

from vswap_swappers.point_diffusion.adapter import chosen, undropped
from vswap_swappers.point_diffusion.adapter_file import read_adapter
from vswap_swappers.point_diffusion.patch_mask import PatchMask
from vswap_swappers.point_diffusion.splat import splats

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def adapter(golden):
    return read_adapter(golden / "adapter.pth")


@pytest.fixture(scope="module")
def recorded(recording):
    return recording("adapter_io")


@pytest.fixture(scope="module")
def points(recorded):
    xy = recorded[0]["tracks"].numpy()
    return xy, (xy >= 0).all(-1)


@pytest.fixture(scope="module")
def levels(golden, recorded, points):
    strides = yaml.safe_load((golden / "point_adapter.yml").read_text())["downsample_rate"]
    return splats(*points, tuple(recorded[1]["size_wh"]), strides)


def dense(recorded, name):
    tensors, about = recorded
    maps = torch.zeros(about["dense_shapes"][name])
    frame, row, column = tensors[f"{name}_idx"].long().unbind(1)
    maps[frame, :, row, column] = tensors[f"{name}_val"]
    return maps


def check(recorded, name, maps):
    for level, got in enumerate(maps):
        wanted = dense(recorded, f"{name}_{level}")
        assert got.shape == wanted.shape
        torch.testing.assert_close(got, wanted, rtol=0, atol=TOLERANCE)


def test_adapter_has_the_widths_of_the_recorded_option_file(golden, adapter):
    options = yaml.safe_load((golden / "point_adapter.yml").read_text())
    assert adapter.embedding_channels == options["embedding_channels"]
    assert adapter.hidden_channels == options["mid_dim"]
    assert adapter.block_channels == tuple(options["channels"])


def test_maps_of_all_points(recorded, adapter, levels):
    check(recorded, "state_all", adapter(recorded[0]["embedding"], levels))


def test_maps_of_a_subset_of_the_points(recorded, adapter, levels):
    embedding = recorded[0]["embedding"]
    kept = chosen(len(embedding), recorded[1]["index_list"])
    check(recorded, "state_subset", adapter(embedding, levels, kept=kept))


def test_maps_after_point_dropout(recorded, adapter, levels):
    tensors, about = recorded
    kept = undropped(torch.tensor(about["draws"]), about["drop_rate"])
    assert kept.nonzero().flatten().tolist() == about["kept"]
    check(recorded, "state_train", adapter(tensors["embedding"], levels, kept=kept))


def test_a_single_point_keeps_its_vector(recorded, adapter, levels):
    """The reference collapses it to one scalar, unless there is a batch axis: we follow the latter."""
    embedding = recorded[0]["embedding"]
    adapter = adapter.requires_grad_(False)
    maps = [adapter(embedding, levels, kept=chosen(len(embedding), [point]))[1] for point in range(len(embedding))]
    apart = {
        kind: min(float((got - recorded[0][f"single_point_{kind}_1"]).abs().max()) for got in maps)
        for kind in ("batched", "unbatched")
    }
    assert apart["batched"] <= TOLERANCE
    assert apart["unbatched"] > 100 * TOLERANCE


def test_reference_patch_mask(recorded, points):
    tensors, about = recorded
    wanted = tensors["loss_mask_local"].float()
    patches = PatchMask.around(*points, tuple(wanted.shape[2:]), reference_patch_mask=True)
    mask = patches.of(undropped(torch.tensor(about["draws"]), about["drop_rate"]))
    assert torch.equal(mask.expand_as(wanted), wanted)
    assert bool(tensors["loss_mask_global"].bool().all())


@pytest.mark.parametrize("file", ["TAP.pth", "TAP_alt.pth", "TAP_big.pth"])
def test_each_visible_point_is_splatted_whole_in_its_frame_only(golden, adapter, file):
    """Invisible, border, on-grid, slightly negative and beyond-the-edge points."""
    tracks = torch.load(golden / file, weights_only=True)["pred_tracks"].numpy()
    visible = (tracks >= 0).all(-1)
    for splat in splats(tracks, visible, tuple((tracks.max((0, 1)).astype(int) + 1).tolist())):
        total = np.zeros(visible.shape, np.float32)
        np.add.at(total, splat.frame.numpy(), splat.weights.numpy())
        np.testing.assert_allclose(total, visible, atol=1e-6)
        assert float(splat.weights.min()) >= 0
