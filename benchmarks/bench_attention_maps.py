"""A U-Net pass that also captures the maps the blend mask needs: pytest benchmarks/bench_attention_maps.py

The U-Net has the widths of Stable Diffusion 1.5 and random weights; frames of 256x256. Plain and capturing passes take
turns on one thread, and the processor time of the quickest of each counts, so that the ratio holds on a machine that is
busy with other things. VideoSwap's own attention store costs 1.29x and keeps 0.23 GiB a step at 16 frames; ours may
cost 1.05x and keep a hundredth.
"""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from vswap_backbones import sd15
from vswap_backbones.loading import Model
from vswap_backbones.register import StableDiffusionOptions
from vswap_kernel.api import Context

FRAMES, SIDE, ROUNDS = 1, 32, 3
REFERENCE_BYTES = 0.23 * 2**30 * FRAMES / 16
TOKENS = tuple(range(12))  # an inversion keeps those of every word of its prompt


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(cross_attention_dim=768)
    text = CLIPTextModel(CLIPTextConfig(num_hidden_layers=1))
    model = Model(unet, AutoencoderKL(), text, None, DDIMScheduler().alphas_cumprod)
    for module in (unet, text):
        module.requires_grad_(False).eval()
    folder, patch = tmp_path_factory.mktemp("model"), pytest.MonkeyPatch()
    patch.setattr(sd15, "load", lambda options, dtype: model)
    yield sd15.StableDiffusion(StableDiffusionOptions(weights="random/weights"), Context(folder))
    patch.undo()


def test_capture(backbone):
    layers = [i for i, layer in enumerate(backbone.layers) if layer.stride in (2, 4)]
    latents, text = torch.randn(FRAMES, 4, SIDE, SIDE), torch.randn(1, 77, 768)
    seconds, kept = {False: [], True: []}, 0

    def one_pass(capturing):
        start = time.process_time()
        backbone.predict(latents, 500, text, frames=FRAMES)
        seconds[capturing].append(time.process_time() - start)

    with torch.inference_mode():
        backbone.predict(latents, 500, text, frames=FRAMES)
        for _ in range(ROUNDS):
            one_pass(False)
            with backbone.capture_attention(TOKENS, layers) as maps:
                one_pass(True)
                kept = sum(value.nbytes for value in maps.values())
    ratio = min(seconds[True]) / min(seconds[False])
    print(f"\nplain {min(seconds[False]):.2f} s, capturing {min(seconds[True]):.2f} s: {ratio:.3f}x")
    print(f"kept {kept / 2**20:.3f} MiB of {len(layers)} layers, the reference keeps {REFERENCE_BYTES / 2**20:.0f} MiB")
    assert ratio < 1.05
    assert kept < REFERENCE_BYTES / 100
