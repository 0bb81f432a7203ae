from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

import numpy as np

from vswap_kernel.errors import InputError
from vswap_swappers.point_diffusion.adapter import PointAdapter, chosen, undropped
from vswap_swappers.point_diffusion.adapter_file import read_adapter, write_adapter
from vswap_swappers.point_diffusion.draws import SeededDraws
from vswap_swappers.point_diffusion.patch_mask import PatchMask
from vswap_swappers.point_diffusion.splat import Splat, splats

SIZE = (96, 64)
XY = np.array(
    [
        [[10.5, 20.25], [11, 21], [0, 0], [95, 63]],
        [[-0.4, 30], [16, 24], [99, 40], [50, -3]],
        [[40, 33.3], [40, 33.3], [8, 8], [7.9, 63.9]],
    ],
    np.float32,
)
VISIBLE = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 1]], bool)


def by_hand(features, stride, size):
    maps = torch.zeros(len(XY), features.shape[1], *size)
    for frame, point in itertools.product(range(len(XY)), range(len(features))):
        if not VISIBLE[frame, point]:
            continue
        x, y = (min(max(float(v) / stride, 0), n - 1) for v, n in zip(XY[frame, point], size[::-1], strict=True))
        for row, column in itertools.product(range(size[0]), range(size[1])):
            share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            maps[frame, :, row, column] += share * features[point]
    return maps


@pytest.fixture
def adapter():
    adapter = PointAdapter(12, (8, 16, 24, 24), 10, points=("a", "b", "c", "d"), space="test:4")
    adapter.initialise(torch.Generator().manual_seed(0))
    return adapter


@pytest.fixture
def embeddings():
    return torch.randn(4, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("stride", "size"), [(8, (8, 12)), (16, (4, 6)), (32, (2, 3)), (64, (1, 2))])
def test_splat_is_the_bilinear_one_and_adds_where_points_meet(stride, size):
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    maps = Splat.at(XY, VISIBLE, stride, size)(features)
    torch.testing.assert_close(maps, by_hand(features, stride, size), rtol=0, atol=1e-6)


def test_gradient_of_the_splat():
    splat = Splat(*vars(Splat.at(XY, VISIBLE, 16, (4, 6))).values())
    features = torch.randn(4, 3, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(splat, (features,))


def test_maps_have_the_sizes_of_the_u_net_where_the_video_does_not_divide_evenly():
    sizes = [splat.size for splat in splats(XY, VISIBLE, (856, 480))]
    assert sizes == [(60, 107), (30, 54), (15, 27), (8, 14)]


def test_splat_of_invisible_points_is_empty():
    assert not Splat.at(XY, np.zeros_like(VISIBLE), 8, (8, 12))(torch.ones(4, 2)).any()


def test_left_out_points_leave_nothing_and_take_no_gradient(adapter, embeddings):
    embeddings.requires_grad_()
    levels = splats(XY, VISIBLE, SIZE)
    maps = adapter(embeddings, levels, kept=chosen(4, [3, 1]))
    alone = [adapter(embeddings, splats(XY, VISIBLE & np.eye(4, dtype=bool)[i], SIZE)) for i in (1, 3)]
    for level, got in enumerate(maps):
        torch.testing.assert_close(got, alone[0][level] + alone[1][level])
    sum(got.square().sum() for got in maps).backward()
    assert embeddings.grad.abs().sum(1).gt(0).tolist() == [False, True, False, True]


def test_strength_scales_all_levels(adapter, embeddings):
    levels = splats(XY, VISIBLE, SIZE)
    full, half = adapter(embeddings, levels), adapter(embeddings, levels, strength=0.5)
    for whole, part in zip(full, half, strict=True):
        assert whole.any()
        torch.testing.assert_close(part, whole / 2)


def test_dropout_keeps_a_point_whose_draw_is_above_the_rate():
    assert undropped(torch.tensor([0.1, 0.2, 0.3]), 0.2).tolist() == [False, False, True]


def test_dropout_drops_the_given_share():
    draws = torch.cat([SeededDraws(5).points(step, 100) for step in range(100)])
    assert abs(1 - undropped(draws, 0.2).float().mean() - 0.2) < 0.02


def test_seeded_draws_depend_on_seed_purpose_and_step_alone():
    first, again, other = SeededDraws(1), SeededDraws(1), SeededDraws(2)
    again.noise(0, (2, 3))
    assert torch.equal(first.noise(7, (2, 3)), again.noise(7, (2, 3)))
    assert first.timestep(3) == again.timestep(3) != other.timestep(3)
    assert not torch.equal(first.noise(7, (2, 3)), first.noise(8, (2, 3)))
    assert not torch.equal(first.noise(7, (2, 3)), first.latent_noise(7, (2, 3)))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_adapter_survives_writing_and_reading(tmp_path, adapter, suffix):
    path = tmp_path / f"adapter{suffix}"
    write_adapter(path, adapter)
    again = read_adapter(path)
    assert again.state_dict().keys() == adapter.state_dict().keys()
    assert all(torch.equal(value, adapter.state_dict()[name]) for name, value in again.state_dict().items())
    noted = (adapter.points, adapter.space) if suffix == ".safetensors" else ((), "")
    assert (again.points, again.space) == noted


def test_writing_twice_gives_the_same_bytes(tmp_path, adapter):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file in files:
        write_adapter(file, adapter)
    assert files[0].read_bytes() == files[1].read_bytes()


class Bomb:
    def __reduce__(self):
        return print, ("code was run",)


def broken(tmp_path, kind):
    path = tmp_path / "adapter.pth"
    if kind == "code":
        torch.save({"model_list.0.mlp.0.weight": Bomb()}, path)
    elif kind == "other tensors":
        torch.save({"params": torch.zeros(3)}, path)
    elif kind == "not a dict":
        torch.save(torch.zeros(3), path)
    elif kind == "rubbish":
        path.write_bytes(b"rubbish")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "rubbish safetensors":
        path = path.with_suffix(".safetensors")
        path.write_bytes(b"rubbish")
    return path


@pytest.mark.parametrize(
    "kind", ["code", "other tensors", "not a dict", "rubbish", "empty", "missing", "rubbish safetensors"]
)
def test_what_is_no_adapter_is_refused_in_one_line(tmp_path, capsys, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(InputError) as caught:
        read_adapter(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"embedding_channels": 13}, "embeddings of 12 channels, these have 13"),
        ({"block_channels": (8, 16, 24, 25)}, r"\[8, 16, 24, 24\]"),
        ({"points": ("a", "tail")}, "'tail'"),
    ],
)
def test_adapter_refuses_what_it_was_not_registered_for(adapter, change, says):
    fitting = {"embedding_channels": 12, "block_channels": [8, 16, 24, 24], "points": ("c", "a")}
    adapter.require(**fitting)
    with pytest.raises(InputError, match=says):
        adapter.require(**{**fitting, **change})


def test_patch_lies_about_its_point_in_its_own_frame():
    patches = PatchMask.around(XY, VISIBLE, (8, 12))
    mask = patches.of(chosen(4, [1]))[:, 0]
    assert mask.shape == (3, 8, 12)
    assert mask[1].nonzero().amin(0).tolist() == [2, 1]
    assert mask[1].nonzero().amax(0).tolist() == [5, 4]
    assert mask[1].sum() == 16
    assert not PatchMask.around(XY, np.zeros_like(VISIBLE), (8, 12)).of(torch.ones(4, dtype=torch.bool)).any()


def test_patch_reaches_the_last_row_and_column():
    mask = PatchMask.around(XY, VISIBLE, (8, 12)).of(chosen(4, [3]))[0, 0]
    assert mask[7, 11] == 1


def test_patch_covers_every_cell_that_the_point_is_splatted_to():
    mask = PatchMask.around(XY, VISIBLE, (8, 12)).of(torch.ones(4, dtype=torch.bool))
    reached = Splat.at(XY, VISIBLE, 8, (8, 12))(torch.ones(4, 1)) > 0
    assert bool(mask[reached].bool().all())


def test_reference_patch_is_lit_in_every_frame_but_not_on_the_last_row():
    mask = PatchMask.around(XY, VISIBLE, (8, 12), reference_patch_mask=True).of(torch.ones(4, dtype=torch.bool))
    assert torch.equal(mask[0], mask[1])
    assert torch.equal(mask[0], mask[2])
    assert not mask[..., 7, :].any()
    assert not mask[..., 11].any()
