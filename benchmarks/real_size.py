"""One step of each stage at the real size of SD 1.5 + AnimateDiff: seconds, and peak memory of a process of its own.

    python benchmarks/real_size.py                      # all three, 16 frames of 256x256, on the CPU
    python benchmarks/real_size.py edit --device cuda --dtype float16 --width 512 --height 512

Weights are random: time and memory don't depend on them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

GIB = 2**30
WIDTHS = (320, 640, 1280, 1280)
POINTS, FRAMES, STEPS = 8, 16, 50
STAGES = ("inversion", "registration", "edit")


def made_backbone(device: str, dtype: str) -> Any:
    """A `StableDiffusion` of 860 M random weights; no VAE and no text encoder, which these steps don't use."""
    import torch
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from vswap_backbones import sd15
    from vswap_backbones.loading import Model
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_kernel.api import Context

    torch.manual_seed(0)
    unet = UNet2DConditionModel(block_out_channels=WIDTHS, cross_attention_dim=768, attention_head_dim=8)
    unet.requires_grad_(False).eval().to(getattr(torch, dtype))
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    vae = torch.nn.Module()
    vae.config = argparse.Namespace(scaling_factor=0.18215, block_out_channels=(1, 1, 1, 1))
    sd15.load = lambda *_: Model(unet, vae, torch.nn.Module(), None, DDIMScheduler(**schedule).alphas_cumprod)
    return sd15.StableDiffusion(StableDiffusionOptions(), Context(Path(mkdtemp()), device=device, dtype=dtype))


@contextmanager
def motion(backbone: Any, device: str, dtype: str) -> Iterator[None]:
    """AnimateDiff v1's temporal layers with random weights."""
    import torch
    from diffusers import MotionAdapter

    from vswap_motion.temporal import norms_over_frames, temporal_layers

    adapter = MotionAdapter(block_out_channels=WIDTHS, motion_max_seq_length=24, use_motion_mid_block=False)
    adapter = torch.nn.Module.to(adapter.requires_grad_(False).eval(), device, getattr(torch, dtype))
    with ExitStack() as hooks:
        hooks.enter_context(temporal_layers(backbone.unet, adapter, lambda: backbone.frames, 1.0))
        hooks.enter_context(norms_over_frames(backbone.unet, lambda: backbone.frames))
        yield


def one_step(stage: str, backbone: Any, size: tuple[int, int], device: str, dtype: str) -> Any:
    """A function that does one step of a stage on random input, with the prompts that a swap would have."""
    import torch

    from vswap_swappers.point_diffusion.adapter import PointAdapter
    from vswap_swappers.point_diffusion.ddim import Ladder, inverted, sampled
    from vswap_swappers.point_diffusion.frozen import frozen
    from vswap_swappers.point_diffusion.guidance import Guidance
    from vswap_swappers.point_diffusion.latent_blend import BlendOptions, LatentBlend
    from vswap_swappers.point_diffusion.patch_mask import PatchMask
    from vswap_swappers.point_diffusion.registration import Registration, RegistrationSettings, RegistrationSource
    from vswap_swappers.point_diffusion.splat import splats
    from vswap_swappers.point_diffusion.word_attention import layer_mean

    cells = (size[1] // 8, size[0] // 8)
    latents = torch.randn(FRAMES, 4, *cells, device=device)
    text = torch.randn(1, 77, 768, device=device)
    xy = (np.random.default_rng(0).random((FRAMES, POINTS, 2)) * size).astype(np.float32)
    seen = np.ones((FRAMES, POINTS), bool)
    places = tuple(splat.to(device) for splat in splats(xy, seen, size))
    adapter, vectors = PointAdapter(1280, WIDTHS).to(device), torch.randn(POINTS, 1280, device=device)
    ladder = Ladder.of(backbone.alphas_cumprod, STEPS)
    layers = [i for i, layer in enumerate(backbone.layers) if layer.part != "mid" and layer.stride in (2, 4)]

    def inversion() -> None:
        with backbone.capture_attention(range(12), layers) as maps:
            next(inverted(lambda x, t, _: backbone.predict(x, t, text, frames=FRAMES), latents, ladder, first=25))
            layer_mean([maps[layer] for layer in layers], 0)

    def edit() -> None:
        residuals = [level.detach() for level in adapter(vectors, places)]
        guidance = Guidance(backbone, torch.cat([text, text]), 7.5, STEPS, residuals)
        attention = torch.rand(FRAMES, *cells, device=device)
        blend = LatentBlend([latents] * (STEPS + 1), [attention] * STEPS, BlendOptions())
        with backbone.capture_attention((3, 4), layers) as maps:
            found, _ = next(sampled(guidance, latents, ladder))
            blend(0, found, layer_mean([maps[layer] for layer in layers], 1).sum(1))

    def registration() -> None:
        patches = PatchMask.around(xy, seen, cells).to(device)
        source = RegistrationSource(latents, vectors, places, patches, backbone.alphas_cumprod.to(device))
        scale = 1024.0 if dtype == "float16" else 1.0

        def predict(noisy: Any, timestep: int, residuals: Any) -> Any:
            return backbone.predict(noisy, timestep, text, frames=FRAMES, residuals=residuals)

        with frozen(backbone.unet, gradient_checkpointing=True):
            Registration(adapter, source, predict, RegistrationSettings(loss_scale=scale)).step(0)

    return {"inversion": inversion, "edit": edit, "registration": registration}[stage]


def measured(stage: str, size: tuple[int, int], device: str, dtype: str, repeats: int) -> str:
    """Run a stage's step in this process."""
    import torch

    backbone = made_backbone(device, dtype)
    with motion(backbone, device, dtype):
        step, took = one_step(stage, backbone, size, device, dtype), []
        for _ in range(repeats):
            began = time.perf_counter()
            step()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            took.append(time.perf_counter() - began)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    where = "process"
    if device.startswith("cuda"):
        held, where = torch.cuda.max_memory_allocated() / GIB, "GPU"
    return f"{stage:<13} {min(took):8.2f} s a step, peak {held:5.1f} GiB ({where})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=STAGES)
    for name, default in (("device", "cpu"), ("dtype", "float32")):
        parser.add_argument(f"--{name}", default=default)
    for name, number in (("width", 256), ("height", 256), ("repeats", 1)):
        parser.add_argument(f"--{name}", type=int, default=number)
    chosen = parser.parse_args()
    if chosen.stage:
        size = (chosen.width, chosen.height)
        print(measured(chosen.stage, size, chosen.device, chosen.dtype, chosen.repeats), flush=True)
        return
    for stage in STAGES:
        subprocess.run([sys.executable, __file__, stage, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
