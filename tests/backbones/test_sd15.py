"""What `sd15` promises, on a tiny random model."""

from __future__ import annotations

import os
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_kernel.errors import InputError, MissingExtraError
from vswap_kernel.protocols import Window
from vswap_kernel.types import Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


def latents(frames: int, seed: int = 0) -> Any:
    return torch.randn(frames, 4, 16, 8, generator=torch.Generator().manual_seed(seed))


def maps(frames: int, widths: tuple[int, ...] = (32, 32, 64, 64)) -> list[Any]:
    random = torch.Generator().manual_seed(3)
    return [torch.randn(frames, c, 16 >> i, 8 >> i, generator=random) for i, c in enumerate(widths)]


@pytest.fixture(scope="module")
def text(backbone: Any) -> Any:
    return backbone.embed_text(Prompt("a red car"))


def test_layers_are_counted_down_mid_up(backbone: Any) -> None:
    assert [layer.part for layer in backbone.layers] == ["down"] * 6 + ["mid"] + ["up"] * 9
    assert [layer.stride for layer in backbone.layers] == [1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]


def test_frames_come_back_from_latents_whatever_the_batch(make: Any, backbone: Any) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), np.uint8)
    kept = frames.copy()
    one = backbone.encode(frames, torch.Generator().manual_seed(1))
    two = make(vae_batch=2).encode(frames, torch.Generator().manual_seed(1))
    assert one.shape == (5, 4, 8, 4)
    assert torch.allclose(one, two, atol=1e-6)
    assert not torch.allclose(one, backbone.encode(frames), atol=1e-3)
    decoded = backbone.decode(one)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    assert np.array_equal(frames, kept)


def test_given_noise_stands_in_for_the_generator(backbone: Any) -> None:
    frames = np.zeros((2, 64, 32, 3), np.uint8)
    noise = torch.randn(2, 4, 8, 4, generator=torch.Generator().manual_seed(1))
    drawn = backbone.encode(frames, torch.Generator().manual_seed(1))
    assert torch.equal(backbone.encode(frames, noise=noise), drawn)


def test_a_text_per_layer_reaches_its_layer_alone(backbone: Any, text: Any) -> None:
    other = backbone.embed_text(Prompt("a blue dog"))
    seen = {}

    def watch(index: int) -> Any:
        return lambda module, args: seen.__setitem__(index, args[0])

    hooks = [
        backbone.unet.get_submodule(layer.path).to_k.register_forward_pre_hook(watch(i))
        for i, layer in enumerate(backbone.layers)
    ]
    per_layer = torch.stack([other if i == 9 else text for i in range(16)])
    with torch.no_grad():
        backbone.predict(latents(3), 500, per_layer, frames=3)
    for hook in hooks:
        hook.remove()
    for index, got in seen.items():
        assert torch.equal(got, (other if index == 9 else text).expand(3, -1, -1)), index


def test_the_same_text_for_every_layer_is_plain_text(backbone: Any, text: Any) -> None:
    with torch.no_grad():
        plain = backbone.predict(latents(2), 500, text, frames=2)
        layered = backbone.predict(latents(2), 500, text.expand(16, 1, -1, -1), frames=2)
    assert torch.equal(plain, layered)


def test_clips_of_a_batch_do_not_mix(backbone: Any, text: Any) -> None:
    pair = torch.cat([text, backbone.embed_text(Prompt("a dog"))])
    both = torch.cat([latents(3), latents(3, seed=1)])
    with torch.no_grad():
        together = backbone.predict(both, 500, pair, frames=3, residuals=maps(3))
        first = backbone.predict(both[:3], 500, pair[:1], frames=3, residuals=maps(3))
        second = backbone.predict(both[3:], 500, pair[1:], frames=3, residuals=maps(3))
    assert torch.allclose(together, torch.cat([first, second]), atol=1e-5)


def test_residuals_are_added_before_the_skips_except_the_last(backbone: Any, text: Any) -> None:
    skips: dict[int, Any] = {}
    hooks = [
        block.register_forward_hook(lambda m, a, out, i=i: skips.__setitem__(i, (out[0], out[1])), prepend=True)
        for i, block in enumerate(backbone.unet.down_blocks)
    ]
    given = [torch.zeros_like(level) for level in maps(2)]
    entered: list[Any] = []
    hooks.append(backbone.unet.mid_block.register_forward_pre_hook(lambda m, args: entered.append(args[0])))
    with torch.no_grad():
        backbone.predict(latents(2), 500, text, frames=2, residuals=given)
        before, out_before = {i: out for i, (_, out) in skips.items()}, entered[-1]
        given[0] += 1
        backbone.predict(latents(2), 500, text, frames=2, residuals=given)
        first = skips[0][1]
        given[0] -= 1
        given[3] += 1
        backbone.predict(latents(2), 500, text, frames=2, residuals=given)
    for hook in hooks:
        hook.remove()
    assert torch.allclose(first[1], before[0][1] + 1, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(skips[3][1], before[3], strict=True))
    assert torch.allclose(entered[-1], out_before + 1, atol=1e-5)


def test_gradients_reach_every_residual_and_checkpointing_changes_nothing(backbone: Any, text: Any) -> None:
    def gradients() -> list[Any]:
        given = [level.requires_grad_() for level in maps(2)]
        backbone.predict(
            latents(2), 500, text.expand(16, 1, -1, -1), frames=2, residuals=given
        ).square().mean().backward()
        return [level.grad for level in given]

    plain = gradients()
    backbone.unet.enable_gradient_checkpointing()
    again = gradients()
    backbone.unet.disable_gradient_checkpointing()
    assert all(bool(g.abs().max() > 0) for g in plain)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(plain, again, strict=True))
    assert all(p.grad is None for p in backbone.unet.parameters())


def test_other_number_types_and_settings_agree(make: Any, backbone: Any, text: Any) -> None:
    with torch.no_grad():
        expected = backbone.predict(latents(2), 500, text, frames=2, residuals=maps(2))
        for settings in ({"channels_last": True}, {"offload": True}, {"dtype": "bfloat16"}):
            other = make(**settings)
            found = other.predict(latents(2), 500, other.embed_text(Prompt("a red car")), frames=2, residuals=maps(2))
            assert found.dtype == torch.float32
            limit = 0.05 if "dtype" in settings else 1e-5
            assert (found - expected).abs().max() < limit * expected.abs().max(), settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 2}, "not a batch of clips of 2 frames"),
        ({"residuals": []}, "residuals of 0 levels for a U-Net of 4"),
        ({"layers": 5}, r"expected \[1, 77, C\] or \[16, 1, 77, C\]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(backbone: Any, text: Any, change: Any, message: str) -> None:
    given = text if "layers" not in change else text.expand(change["layers"], 1, -1, -1)
    with pytest.raises(InputError, match=message):
        backbone.predict(latents(3), 1, given, frames=change.get("frames", 3), residuals=change.get("residuals"))


def test_a_model_of_another_kind_is_refused_before_it_loads(tmp_path: Path, make: Any) -> None:
    from vswap_backbones.describe import describe
    from vswap_backbones.register import StableDiffusionOptions

    for config, message in (('{"in_channels": 9}', "inpainting"), ('{"addition_embed_type": "text_time"}', "SDXL")):
        (tmp_path / "unet").mkdir(exist_ok=True)
        (tmp_path / "unet" / "config.json").write_text(config)
        with pytest.raises(InputError, match=message):
            describe(StableDiffusionOptions.model_validate({"weights": tmp_path}))
    with pytest.raises(InputError, match="not a Stable Diffusion model that can be read"):
        make(weights=tmp_path)


def test_a_model_describes_itself_without_loading(folder: Path) -> None:
    from vswap_backbones.describe import describe
    from vswap_backbones.register import StableDiffusionOptions

    told = describe(StableDiffusionOptions.model_validate({"weights": folder}))
    assert told == {"widths": (32, 32, 64, 64), "text_width": 16, "layers_per_block": 2}


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("write", [lambda x, f: pickle.dump(x, f, protocol=2), lambda x, f: torch.save({"a": x}, f)])
def test_a_pickle_with_code_is_never_run(folder: Path, tmp_path: Path, make: Any, write: Any) -> None:
    from vswap_backbones.describe import describe
    from vswap_backbones.register import StableDiffusionOptions

    model = tmp_path / "model"
    shutil.copytree(folder, model)
    (model / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with (model / "unet" / "diffusion_pytorch_model.bin").open("wb") as file:
        write(Code(tmp_path / "ran"), file)
    with pytest.raises(InputError, match="pickle holds code"):
        describe(StableDiffusionOptions.model_validate({"weights": model}))
    with pytest.raises(InputError, match="pickle holds code") as refused:
        make(weights=model)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_a_single_file_is_the_same_model(suffix: str, folder: Path, tmp_path: Path, make: Any, backbone: Any) -> None:
    from safetensors.torch import save_file

    from original_layout import original_checkpoint
    from vswap_backbones.describe import describe
    from vswap_backbones.register import StableDiffusionOptions

    path, weights = (
        tmp_path / f"model.{suffix}",
        original_checkpoint(backbone.unet, backbone.vae, backbone.text_encoder),
    )
    save_file(weights, path) if suffix == "safetensors" else torch.save({"state_dict": weights}, path)
    one = make(weights=path, config=folder)
    text = backbone.embed_text(Prompt("a red car"))
    assert torch.equal(one.embed_text(Prompt("a red car")), text)
    with torch.no_grad():
        found = one.predict(latents(2), 500, text, frames=2)
        assert torch.equal(found, backbone.predict(latents(2), 500, text, frames=2))
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 32, 3), np.uint8)
    assert torch.equal(one.encode(frames), backbone.encode(frames))
    assert torch.equal(one.alphas_cumprod, backbone.alphas_cumprod)
    told = describe(StableDiffusionOptions.model_validate({"weights": path}))
    assert told.get("text_width", 16) == 16


def test_windows_cut_latents_and_residuals_alike(backbone: Any, text: Any) -> None:
    both, pair = torch.cat([latents(7), latents(7, seed=1)]), text.expand(2, -1, -1)
    with torch.no_grad():
        whole = backbone.predict(both, 500, pair, frames=7, residuals=maps(7))
        backbone.window = Window(3, 1)
        cut = backbone.predict(both, 500, pair, frames=7, residuals=maps(7))
        backbone.window = None
    assert torch.allclose(cut, whole, atol=1e-5)


@pytest.mark.skipif(find_spec("xformers") is not None, reason="xformers is installed")
def test_a_missing_attention_kernel_says_what_to_install(make: Any) -> None:
    with pytest.raises(MissingExtraError, match=r"xformers can't be used here .* pip install 'vswap\[gpu\]'"):
        make(attention="xformers")
