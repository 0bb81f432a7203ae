from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace

import numpy as np

from vswap_kernel.errors import InputError, StoreError, VswapError
from vswap_swappers.point_diffusion.adapter import PointAdapter, undropped
from vswap_swappers.point_diffusion.checkpoint import FILE
from vswap_swappers.point_diffusion.draws import SeededDraws
from vswap_swappers.point_diffusion.frozen import frozen
from vswap_swappers.point_diffusion.patch_mask import PatchMask
from vswap_swappers.point_diffusion.registration import (
    Registration,
    RegistrationSettings,
    RegistrationSource,
)
from vswap_swappers.point_diffusion.splat import splats

FRAMES, POINTS, SIZE, BLOCKS = 3, 4, (192, 128), (4, 6, 8, 8)
LATENTS = (FRAMES, 4, 16, 24)
SETTINGS = RegistrationSettings(steps=6, checkpoint_every=2, learning_rate=5e-3, seed=3)


class SmallUNet(torch.nn.Module):
    """Four levels, residuals added before each is made smaller, and all levels added up again."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        widths = (4, *BLOCKS)
        self.down = torch.nn.ModuleList(torch.nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.out = torch.nn.ModuleList(torch.nn.Conv2d(width, 4, 1) for width in BLOCKS)
        self.is_gradient_checkpointing = False

    def enable_gradient_checkpointing(self):
        self.is_gradient_checkpointing = True

    def disable_gradient_checkpointing(self):
        self.is_gradient_checkpointing = False

    def forward(self, latents, timestep, residuals):
        hidden, total = latents, latents * (timestep / 1000)
        for down, out, residual in zip(self.down, self.out, residuals, strict=True):
            hidden = torch.tanh(down(hidden)) + residual
            total = total + torch.nn.functional.interpolate(out(hidden), latents.shape[2:])
            hidden = torch.nn.functional.avg_pool2d(hidden, 2)
        return total


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network():
    return SmallUNet()


@pytest.fixture(scope="module")
def source():
    random = np.random.default_rng(0)
    xy = (random.random((FRAMES, POINTS, 2)) * SIZE).astype(np.float32)
    visible = random.random((FRAMES, POINTS)) < 0.8
    generator = torch.Generator().manual_seed(0)
    return RegistrationSource(
        torch.randn(LATENTS, generator=generator),
        torch.randn(POINTS, 12, generator=generator),
        splats(xy, visible, SIZE),
        PatchMask.around(xy, visible, LATENTS[2:]),
        torch.linspace(0.9999, 0.005, 1000),
    )


def fresh():
    adapter = PointAdapter(12, BLOCKS, 16)
    adapter.initialise(SeededDraws(0).generator("adapter"))
    return adapter


def state(registration):
    return b"".join(tensor.numpy().tobytes() for tensor in registration.adapter.state_dict().values())


def unseen(source):
    return replace(source, splats=splats(np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), bool), SIZE))


def test_registration_learns_the_clip(network, source):
    class SameDraws(SeededDraws):
        def noise(self, step, shape, /):
            return super().noise(0, shape)

        def timestep(self, step, /):
            return 0.5

    settings = replace(SETTINGS, steps=20, dropout=0.0, learning_rate=2e-2)
    losses = Registration(fresh(), source, network, settings, SameDraws(0)).run()
    assert losses[-1] < 0.97 * losses[0]


def test_only_the_adapter_is_trained(network, source):
    before = [parameter.clone() for parameter in network.parameters()]
    registration = Registration(fresh(), source, network, SETTINGS)
    start = state(registration)
    with frozen(network):
        registration.run()
    assert state(registration) != start
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_frozen_gives_everything_back(network):
    network.out[0].bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen(network, gradient_checkpointing=True):
        assert network.is_gradient_checkpointing
        assert not any(parameter.requires_grad for parameter in network.parameters())
        raise KeyError
    assert not network.is_gradient_checkpointing
    held = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert held == ["out.0.bias"]


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_an_interrupted_registration_ends_with_the_same_bytes(tmp_path, network, source, stop):
    whole = Registration(fresh(), source, network, SETTINGS)
    losses = whole.run()

    def interrupt(done, total, note):
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Registration(fresh(), source, network, SETTINGS).run(tmp_path, interrupt)
    assert (tmp_path / FILE).exists() == (stop > 1)
    resumed, done = Registration(fresh(), source, network, SETTINGS), []
    assert resumed.run(tmp_path, lambda step, total, note: done.append(step)) == losses
    assert done[0] == stop // 2 * 2 + (1 if stop % 2 else -1)
    assert state(resumed) == state(whole)


def test_finished_registration_is_not_done_again(tmp_path, network, source):
    losses = Registration(fresh(), source, network, SETTINGS).run(tmp_path)

    def broken(*inputs):
        raise AssertionError("the network was called")

    assert Registration(fresh(), source, broken, SETTINGS).run(tmp_path) == losses


@pytest.mark.parametrize("change", ["settings", "latents", "points", "model", "adapter"])
def test_checkpoint_of_another_registration_is_refused(tmp_path, network, source, change):
    Registration(fresh(), source, network, SETTINGS).run(tmp_path)
    adapter, settings = fresh(), SETTINGS
    if change == "settings":
        settings = replace(settings, seed=4)
    elif change == "latents":
        source = replace(source, latents=source.latents + 1)
    elif change == "points":
        first = source.splats[0]
        source = replace(source, splats=(replace(first, weights=first.weights / 2), *source.splats[1:]))
    elif change == "model":
        source = replace(source, model="another")
    else:
        adapter.initialise(torch.Generator().manual_seed(9))
    with pytest.raises(InputError, match="another registration"):
        Registration(adapter, source, network, settings).run(tmp_path)


def test_damaged_checkpoint_is_named(tmp_path, network, source):
    (tmp_path / FILE).write_bytes(b"rubbish")
    with pytest.raises(StoreError, match="delete it"):
        Registration(fresh(), source, network, SETTINGS).run(tmp_path)


def test_timesteps_come_from_the_noisy_part_of_the_schedule(network, source):
    seen = []

    def watch(latents, timestep, residuals):
        seen.append(timestep)
        return network(latents, timestep, residuals)

    registration = Registration(fresh(), source, watch, replace(SETTINGS, lowest_timestep=0.7))
    for step in range(40):
        registration.loss(step)
    assert min(seen) >= 700
    assert max(seen) <= 999
    assert max(seen) - min(seen) > 200


def test_local_loss_counts_the_patches_of_the_kept_points_only(network, source):
    registration = Registration(fresh(), source, lambda latents, timestep, residuals: 0 * residuals[0][:, :4], SETTINGS)
    for step in range(5):
        kept = undropped(registration.draws.points(step, POINTS), SETTINGS.dropout)
        counted = source.patches.of(kept).bool().expand(LATENTS)
        wanted = registration.draws.noise(step, LATENTS)[counted].square().mean()
        torch.testing.assert_close(registration.loss(step).detach(), wanted)


def test_step_without_any_point_learns_nothing(network, source):
    class AllDropped(SeededDraws):
        def points(self, step, count, /):
            return torch.zeros(count)

    registration = Registration(fresh(), source, network, SETTINGS, AllDropped(0))
    start = state(registration)
    assert registration.run() == [None] * SETTINGS.steps
    assert state(registration) == start


def test_posterior_is_drawn_anew_at_each_step(network, source):
    noisy = []

    def watch(latents, timestep, residuals):
        noisy.append(latents)
        return network(latents, timestep, residuals)

    plain = Registration(fresh(), source, watch, SETTINGS)
    sampled = Registration(fresh(), replace(source, deviation=torch.full(LATENTS, 0.1)), watch, SETTINGS)
    for step in range(2):
        plain.loss(step)
        sampled.loss(step)
    assert not torch.allclose(noisy[1] - noisy[0], noisy[3] - noisy[2])


def test_a_step_takes_no_more_frames_than_asked_for_and_all_get_their_turn(network, source):
    seen = []

    def watch(latents, timestep, residuals):
        assert len(latents) == 2
        assert all(len(level) == 2 for level in residuals)
        seen.append(residuals[0].detach())
        return network(latents, timestep, residuals)

    settings = replace(SETTINGS, frames_per_step=2, dropout=0.0)
    registration = Registration(fresh(), source, watch, settings)
    whole = registration.adapter(source.embeddings, source.splats)[0].detach()
    for step in range(8):
        assert torch.isfinite(registration.loss(step))
    firsts = {start for maps in seen for start in range(FRAMES - 1) if torch.equal(maps, whole[start : start + 2])}
    assert firsts == {0, 1}


def test_loss_scale_changes_no_step(network, source):
    plain = Registration(fresh(), source, network, SETTINGS)
    scaled = Registration(fresh(), source, network, replace(SETTINGS, loss_scale=1024.0))
    assert plain.run() == scaled.run()
    assert state(plain) == state(scaled)


def test_numbers_that_are_not_finite_stop_it_with_advice(source):
    registration = Registration(fresh(), source, lambda x, t, r: x * float("inf") + r[0][:, :4], SETTINGS)
    with pytest.raises(VswapError, match=r"not finite at step 1 .* bfloat16"):
        registration.run()


def test_registration_without_any_visible_point_is_refused(network, source):
    with pytest.raises(InputError, match="no point is visible"):
        Registration(fresh(), unseen(source), network, SETTINGS)
