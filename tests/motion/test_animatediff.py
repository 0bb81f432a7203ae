"""`animatediff` on a tiny random model: every layout of checkpoints, windows, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

FACTS = Facts(40, (128, 64), ("nose",), described={"backbone": {"widths": (32, 32, 64, 64), "layers_per_block": 2}})


def latents(frames: int, seed: int = 0) -> Any:
    return torch.randn(frames, 4, 16, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def text(backbone: Any) -> Any:
    from vswap_kernel.types import Prompt

    return backbone.embed_text(Prompt("a car"))


def predicted(backbone: Any, motion: Any, frames: int, text: Any, seed: int = 0) -> Any:
    with torch.no_grad(), motion.attach(backbone):
        return backbone.predict(latents(frames, seed), 500, text, frames=frames)


def original(path: Path, **settings: Any) -> Path:
    from tiny_diffusion import adapter, original_names

    torch.save(original_names(adapter(**settings)), path)
    return path


LAYOUTS = {
    "v1": {"positions": 24, "mid_block": False},
    "v2": {"positions": 32, "mid_block": True},
    "v3": {"positions": 32, "mid_block": False},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_original_checkpoints_and_folders_give_the_same(
    layout: str, tmp_path: Path, backbone: Any, make: Callable[..., Any], text: Any
) -> None:
    from safetensors.torch import save_file

    from tiny_diffusion import adapter, original_names

    module = adapter(**LAYOUTS[layout])
    module.save_pretrained(tmp_path / "folder")
    pickled = original(tmp_path / "mm.ckpt", **LAYOUTS[layout])
    save_file(original_names(module), tmp_path / "mm.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in original_names(module).items()}}, tmp_path / "trained.ckpt")
    made = [
        make(path) for path in (pickled, tmp_path / "folder", tmp_path / "mm.safetensors", tmp_path / "trained.ckpt")
    ]
    results = [predicted(backbone, motion, 4, text) for motion in made]
    assert all(torch.equal(results[0], other) for other in results[1:])
    assert made[0].norm_over_frames == (layout == "v1")
    with torch.no_grad():
        assert not torch.allclose(results[0], backbone.predict(latents(4), 500, text, frames=4), atol=1e-4)


def test_it_agrees_with_the_motion_unet_of_diffusers(
    tmp_path: Path, backbone: Any, make: Callable[..., Any], text: Any
) -> None:
    """With one frame a clip, the one difference (whether the temporal GroupNorm sees all frames) is none."""
    from diffusers import UNetMotionModel

    from tiny_diffusion import adapter

    module = adapter(positions=32, mid_block=True, groups=backbone.unet.config.norm_num_groups)
    module.save_pretrained(tmp_path)
    whole = UNetMotionModel.from_unet2d(backbone.unet, module).eval()
    with torch.no_grad():
        expected = whole(latents(1).unsqueeze(2), 500, text).sample.squeeze(2)
    assert torch.allclose(predicted(backbone, make(tmp_path), 1, text), expected, atol=1e-5)


def test_frames_see_each_other_but_clips_do_not(tmp_path: Path, backbone: Any, make: Any, text: Any) -> None:
    motion = make(original(tmp_path / "mm.ckpt", **LAYOUTS["v1"]))
    both = torch.cat([latents(4), latents(4, seed=1)])
    with torch.no_grad(), motion.attach(backbone):
        together = backbone.predict(both, 500, text.expand(2, -1, -1), frames=4)
    alone = torch.cat([predicted(backbone, motion, 4, text), predicted(backbone, motion, 4, text, seed=1)])
    assert torch.allclose(together, alone, atol=1e-5)
    changed = latents(4)
    changed[3] += 1
    with torch.no_grad(), motion.attach(backbone):
        other = backbone.predict(changed, 500, text, frames=4)
    assert not torch.allclose(other[0], alone[0], atol=1e-3)


def test_norm_over_frames_is_one_group_norm_of_the_whole_clip(backbone: Any) -> None:
    from vswap_motion.temporal import norms_over_frames

    norm, clips = backbone.unet.conv_norm_out, torch.randn(6, 32, 5, 4)
    with torch.no_grad():
        before = norm(clips)
        with norms_over_frames(backbone.unet, lambda: 3):
            found = norm(clips)
        expected = norm(clips.unflatten(0, (2, 3)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)
        assert torch.allclose(found, expected, atol=1e-6)
        assert torch.equal(norm(clips), before)


def test_detaching_leaves_no_hook_and_no_window(tmp_path: Path, backbone: Any, make: Any, text: Any) -> None:
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in backbone.unet.modules())

    before, motion = hooks(), make(original(tmp_path / "mm.ckpt", **LAYOUTS["v1"]), window=4, overlap=2)
    with pytest.raises(RuntimeError, match="on purpose"), motion.attach(backbone):
        assert hooks() > before
        assert backbone.window is not None
        raise RuntimeError("on purpose")
    assert hooks() == before
    assert backbone.window is None


def test_a_long_clip_runs_in_windows_of_which_one_is_alive(tmp_path: Path, backbone: Any, make: Any, text: Any) -> None:
    motion = make(original(tmp_path / "mm.ckpt", **LAYOUTS["v1"]), window=6, overlap=3)
    passes: list[int] = []
    hook = backbone.unet.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    long = predicted(backbone, motion, 15, text)
    hook.remove()
    assert passes == [6, 6, 6, 6]
    assert long.shape == (15, 4, 16, 8)
    still = latents(1).expand(15, -1, -1, -1)
    with torch.no_grad(), motion.attach(backbone):
        found = backbone.predict(still, 500, text, frames=15)
        first = backbone.predict(still[:6], 500, text, frames=6)
    inner, border = (found[1:] - found[:-1]).abs().amax((1, 2, 3)), (first[1:] - first[:-1]).abs().amax((1, 2, 3))
    assert inner.max() <= border.max() * 1.2


def test_gradient_checkpointing_changes_no_gradient(tmp_path: Path, backbone: Any, make: Any, text: Any) -> None:
    motion = make(original(tmp_path / "mm.ckpt", **LAYOUTS["v1"]))

    def gradient() -> Any:
        residuals = [torch.zeros(3, c, 16 >> i, 8 >> i, requires_grad=True) for i, c in enumerate((32, 32, 64, 64))]
        with motion.attach(backbone):
            backbone.predict(latents(3), 500, text, frames=3, residuals=residuals).square().mean().backward()
        return [level.grad for level in residuals]

    plain = gradient()
    backbone.unet.enable_gradient_checkpointing()
    again = gradient()
    backbone.unet.disable_gradient_checkpointing()
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-9) for a, b in zip(plain, again, strict=True))
    assert bool(plain[0].abs().max() > 0)


@pytest.mark.parametrize(
    ("options", "facts", "message"),
    [
        ({}, {"backbone": {"widths": (320, 640, 1280, 1280)}}, "made for another base: levels of widths"),
        ({"windows": False}, {}, "40 frames don't fit in one pass, .* has positions for 24"),
        ({"window": 25}, {}, "motion.window: 25, but .* has positions for 24 frames"),
        ({"window": 8, "overlap": 8}, {}, "motion.overlap: 8 must be less"),
    ],
)
def test_wrong_pairings_are_refused_in_one_line_while_planning(
    options: dict[str, Any], facts: dict[str, Any], message: str, tmp_path: Path
) -> None:
    from vswap_motion.preflight import preflight
    from vswap_motion.register import AnimateDiffOptions

    path = original(tmp_path / "mm.ckpt", **LAYOUTS["v1"])
    preflight(AnimateDiffOptions.model_validate({"weights": path}), FACTS)
    with pytest.raises(InputError, match=message) as refused:
        wrong = Facts(40, (128, 64), ("nose",), described=facts)
        preflight(AnimateDiffOptions.model_validate({"weights": path} | options), wrong)
    assert "\n" not in str(refused.value)


def test_another_base_is_refused_when_attached_too(tmp_path: Path, backbone: Any, make: Any) -> None:
    motion = make(original(tmp_path / "mm.ckpt", widths=(32, 64, 64, 64)))
    with pytest.raises(InputError, match="made for another base"), motion.attach(backbone):
        pass


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


def test_files_that_are_no_motion_modules_are_refused(tmp_path: Path, make: Any) -> None:
    torch.save({"state_dict": Code(tmp_path / "ran")}, tmp_path / "code.ckpt")
    torch.save({"conv_in.weight": torch.zeros(2)}, tmp_path / "other.ckpt")
    (tmp_path / "text.safetensors").write_text("no")
    whole = torch.load(original(tmp_path / "whole.ckpt"), weights_only=True)
    torch.save({k: v for k, v in whole.items() if "proj_out" not in k}, tmp_path / "part.ckpt")
    reasons = {"code": "pickle holds code", "other": "no motion module", "part": "not a whole AnimateDiff"}
    for name, message in reasons.items():
        with pytest.raises(InputError, match=message):
            make(tmp_path / f"{name}.ckpt")
    with pytest.raises(InputError, match="damaged"):
        make(tmp_path / "text.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a MotionAdapter folder"):
        make(tmp_path / "empty")
    assert not (tmp_path / "ran").exists()


def test_none_leaves_every_frame_by_itself(tmp_path: Path, backbone: Any, text: Any) -> None:
    from vswap_kernel.api import Context
    from vswap_motion.none import NoMotion
    from vswap_motion.register import NoMotionOptions

    with torch.no_grad():
        whole = backbone.predict(latents(7), 500, text, frames=7)
    cut = predicted(backbone, NoMotion(NoMotionOptions(window=3), Context(tmp_path)), 7, text)
    assert torch.allclose(cut, whole, atol=1e-5)
    assert backbone.window is None


@pytest.mark.slow
def test_a_compiled_unet_sees_what_is_attached_and_taken_out(
    tmp_path: Path, folder: Path, backbone: Any, make: Any, text: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion
    from vswap_kernel.api import Context

    usual = torch.nn.Module.compile
    # tracing and its guards are the same with this backend, only the code generation of minutes is left out
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: usual(module, backend="eager"))
    options = StableDiffusionOptions.model_validate({"weights": folder, "compile": True})
    compiled = StableDiffusion(options, Context(tmp_path))
    motion = make(original(tmp_path / "mm.ckpt", **LAYOUTS["v1"]))
    with torch.no_grad():
        bare = backbone.predict(latents(2), 500, text, frames=2)
        assert torch.allclose(compiled.predict(latents(2), 500, text, frames=2), bare, atol=1e-5)
        with_motion = predicted(compiled, motion, 2, text)
        assert torch.allclose(with_motion, predicted(backbone, motion, 2, text), atol=1e-5)
        assert torch.allclose(compiled.predict(latents(2), 500, text, frames=2), bare, atol=1e-5)
    assert not torch.allclose(with_motion, bare, atol=1e-3)
