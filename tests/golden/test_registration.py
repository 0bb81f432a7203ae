"""Ten steps of registration against the recorded trainer: noisy latents, losses, gradients, and the trained adapter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import yaml

from vswap_swappers.point_diffusion.adapter import undropped
from vswap_swappers.point_diffusion.adapter_file import read_adapter, to_reference
from vswap_swappers.point_diffusion.frozen import frozen
from vswap_swappers.point_diffusion.patch_mask import PatchMask
from vswap_swappers.point_diffusion.registration import (
    Registration,
    RegistrationSettings,
    RegistrationSource,
)
from vswap_swappers.point_diffusion.splat import splats

FORWARD, TRAINED = 2e-5, 1e-3
LOSSES = ["global", "local"]


@dataclass(frozen=True)
class RecordedDraws:
    """The recorded choices, in place of random ones."""

    tensors: dict[str, Any]
    notes: dict[str, Any]

    def timestep(self, step: int, /) -> float:
        return float(self.notes["u_timestep"][step])

    def place(self, step: int, /) -> float:
        raise AssertionError("every recorded step takes all frames")

    def points(self, step: int, count: int, /) -> Any:
        return self.tensors["drop_draws"][step]

    def noise(self, step: int, shape: tuple[int, ...], /) -> Any:
        recorded = self.tensors["noise"]
        return recorded[step % len(recorded)].transpose(0, 1).contiguous()

    def latent_noise(self, step: int, shape: tuple[int, ...], /) -> Any:
        return self.tensors["vae_noise"]


class Watch:
    """Calls the network, and notes what it was given and what it said."""

    def __init__(self, predict: Any) -> None:
        self.predict = predict
        self.calls: list[tuple[Any, int, Any]] = []

    def __call__(self, latents: Any, timestep: int, residuals: Any, /) -> Any:
        predicted = self.predict(latents, timestep, residuals)
        self.calls.append((latents.detach(), timestep, predicted.detach()))
        return predicted


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def train(recording: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    recorded: tuple[dict[str, Any], dict[str, Any]] = recording("train_io")
    return recorded


@pytest.fixture(scope="module")
def source(golden: Any, recording: Any, train: Any, backbone: Any) -> RegistrationSource:
    points = torch.load(golden / "TAP.pth", weights_only=True)
    xy = points["pred_tracks"].numpy()
    visible = (xy >= 0).all(-1)
    frames = recording("dift_io")[0]["frames_u8"].numpy()
    mean = backbone.encode(frames)
    deviation = backbone.encode(frames, noise=torch.ones_like(mean)) - mean
    strides = yaml.safe_load((golden / "point_adapter.yml").read_text())["downsample_rate"]
    return RegistrationSource(
        mean,
        points["point_embedding"],
        splats(xy, visible, (frames.shape[2], frames.shape[1]), strides),
        PatchMask.around(xy, visible, tuple(mean.shape[2:]), reference_patch_mask=True),
        backbone.alphas_cumprod,
        deviation,
    )


@pytest.fixture
def network(backbone: Any, motion: Any, recording: Any) -> Any:
    text = recording("prompt_io")[0]["source_embeds"]
    with motion.attach(backbone), frozen(backbone.unet):
        yield lambda latents, timestep, residuals: backbone.predict(
            latents, timestep, text, frames=len(latents), residuals=residuals
        )


def registration(golden: Any, train: Any, source: RegistrationSource, network: Any, kind: Any) -> Registration:
    tensors, notes = train
    settings = RegistrationSettings(
        steps=notes["steps"],
        learning_rate=notes["lr"],
        weight_decay=notes["weight_decay"],
        dropout=notes["drop_rate"],
        lowest_timestep=notes["min_timestep"],
        loss=kind,
    )
    adapter = read_adapter(golden / "adapter.pth")
    return Registration(adapter, source, Watch(network), settings, RecordedDraws(tensors, notes))


def relative_rms(got: Any, wanted: Any) -> float:
    return float((got - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


@pytest.mark.parametrize("kind", LOSSES)
def test_first_step(golden: Any, train: Any, source: Any, network: Any, kind: str) -> None:
    tensors, notes = train
    first = registration(golden, train, source, network, kind)
    loss = first.loss(0)
    assert loss is not None
    loss.backward()
    ((latents, timestep, predicted),) = first.predict.calls
    recorded = tensors["noisy_latents_step1"][0].transpose(0, 1)
    torch.testing.assert_close(latents, recorded, rtol=0, atol=FORWARD)
    assert timestep == notes[kind]["timesteps"][0]
    recorded = tensors[f"{kind}.model_pred_step1"][0].transpose(0, 1)
    torch.testing.assert_close(predicted, recorded, rtol=0, atol=FORWARD)
    gradients = to_reference({name: parameter.grad for name, parameter in first.adapter.named_parameters()})
    assert len(gradients) == sum(name.startswith(f"{kind}.grad1.") for name in tensors)
    for name, gradient in gradients.items():
        wanted = tensors[f"{kind}.grad1.{name}"]
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=FORWARD)
        assert relative_rms(gradient, wanted) < TRAINED, name


@pytest.mark.parametrize("kind", LOSSES)
def test_loss_curve_and_trained_adapter(golden: Any, train: Any, source: Any, network: Any, kind: str) -> None:
    tensors, notes = train
    trained = registration(golden, train, source, network, kind)
    losses = trained.run()
    torch.testing.assert_close(losses, notes[kind]["losses"], rtol=0, atol=FORWARD)
    assert [timestep for _, timestep, _ in trained.predict.calls] == notes[kind]["timesteps"]
    kept = [undropped(draws, notes["drop_rate"]).nonzero().flatten().tolist() for draws in tensors["drop_draws"]]
    assert kept == notes[kind]["kept"]
    start = to_reference(read_adapter(golden / "adapter.pth").state_dict())
    for name, weight in to_reference(trained.adapter.state_dict()).items():
        (wanted,) = (tensors[key] for key in tensors if re.fullmatch(rf"{kind}\.after\d+\.{re.escape(name)}", key))
        assert relative_rms(weight, wanted) < TRAINED, name
        assert relative_rms(weight - start[name], wanted - start[name]) < 20 * TRAINED, name


def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(
    golden: Any, train: Any, source: Any, network: Any, backbone: Any
) -> None:
    weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.unet.parameters()}
    gradients, kept = [], []
    for checkpointing in (False, True):
        storages: dict[int, int] = {}

        def note(tensor: Any, storages: dict[int, int] = storages) -> Any:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        once = registration(golden, train, source, network, "local")
        with frozen(backbone.unet, gradient_checkpointing=checkpointing):
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                loss = once.loss(0)
            assert loss is not None
            loss.backward()
        gradients.append([parameter.grad for parameter in once.adapter.parameters()])
        kept.append(sum(storages.values()))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=1e-5, atol=1e-8)
    assert kept[1] < 0.5 * kept[0]
