"""Makes the models of a set with random weights, writes them as the reference's files, and reads them back as float32.

The classes of diffusers and transformers only give the names and shapes of the weights, and compute VAE and text
encoder; the U-Net has a linear pass-through from its input to its output, as in the open set.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from .variants import Variant

LAYERS = 16
EMBEDDING_BLOCK = 1
"""The up block whose channels an embedding has."""


@dataclass
class Random:
    """Normal and uniform draws from one seed."""

    seed: int

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=self.generator) * scale

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))


def write_models(out: Path, variant: Variant, open_set: Path) -> None:
    """tiny-sd/, mm_tiny.ckpt, the ED-LoRA, adapter.pth and point_adapter.yml."""
    torch.manual_seed(variant.config["seed"])
    folder = out / "tiny-sd"
    for part in ("tokenizer", "scheduler"):
        shutil.copytree(open_set / "tiny-sd" / part, folder / part, copy_function=shutil.copyfile)
    shutil.copyfile(open_set / "tiny-sd" / "model_index.json", folder / "model_index.json")
    unet = _write_unet(folder / "unet", variant)
    _write_vae(folder / "vae", variant)
    text = _write_text_encoder(folder / "text_encoder", variant)
    torch.save(dict(_motion_weights(unet, Random(variant.config["seed"] + 1))), out / "mm_tiny.ckpt")
    torch.save(_lora(unet, text, variant), out / variant.config["lora_name"])
    _write_adapter(out, variant)


def _write_unet(folder: Path, variant: Variant) -> Any:
    widths = variant.config["blocks"]
    unet = UNet2DConditionModel(
        block_out_channels=widths,
        attention_head_dim=variant.config["heads"],
        cross_attention_dim=variant.text_width,
        norm_num_groups=variant.norm_groups,
        sample_size=64,
    )
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if name.endswith(("attn2.to_q.weight", "attn2.to_k.weight")):
                weight *= 3
            if name.endswith(("attn2.to_out.0.weight", "attentions.2.proj_out.weight", "time_emb_proj.weight")):
                weight *= 2
        _pass_through(unet, widths[0])
        unet.half().float()
    weights = {name: weight.half() for name, weight in unet.state_dict().items()}
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    write_json(
        folder / "config.json", {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.19.3", **config}
    )
    torch.save(weights, folder / "diffusion_pytorch_model.bin")
    return unet


def _pass_through(unet: Any, width: int) -> None:
    """The input and its negative in the first 8 channels, through the last skip, to the output."""
    unit = torch.eye(4)
    signed = torch.cat([unit, -unit])
    unet.conv_in.weight[:8] = 0
    unet.conv_in.weight[:8, :, 1, 1] = signed
    shortcut = unet.up_blocks[-1].resnets[-1].conv_shortcut.weight
    before = shortcut.shape[1] - width
    shortcut[:8, before : before + 8, 0, 0] += 2 * torch.eye(8)
    unet.conv_out.weight[:, :8, 1, 1] += 0.9 * signed.T


def _write_vae(folder: Path, variant: Variant) -> None:
    widths = variant.config["vae_blocks"]
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    vae = AutoencoderKL(
        **blocks,
        block_out_channels=widths,
        layers_per_block=variant.vae_layers,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=64,
    )
    with torch.no_grad():
        vae.encoder.conv_out.weight *= 6
        vae.encoder.conv_out.bias[4:] -= 2
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    write_json(folder / "config.json", {"_class_name": "AutoencoderKL", "_diffusers_version": "0.19.3", **config})
    torch.save(vae.state_dict(), folder / "diffusion_pytorch_model.bin")


def _write_text_encoder(folder: Path, variant: Variant) -> Any:
    tokenizer = json.loads((folder.parent / "tokenizer" / "vocab.json").read_text())
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=variant.text_width,
        intermediate_size=2 * variant.text_width,
        num_attention_heads=variant.text_heads,
        num_hidden_layers=variant.text_layers,
        bos_token_id=tokenizer["<|startoftext|>"],
        eos_token_id=tokenizer["<|endoftext|>"],
    )
    model = CLIPTextModel(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("_embedding.weight"):
                weight.copy_(torch.randn(weight.shape) * 0.5)
            elif name.endswith("proj.weight"):
                weight.copy_(torch.randn(weight.shape) / math.sqrt(weight.shape[1]))
    folder.mkdir()
    weights = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in model.state_dict().items()}
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    config.architectures = ["CLIPTextModel"]
    config.save_pretrained(folder)
    return model


def _motion_weights(unet: Any, random: Random) -> Iterator[tuple[str, Tensor]]:
    """Under an original checkpoint's names, in float16."""
    for part in ("down_blocks", "up_blocks"):
        for level, block in enumerate(getattr(unet, part)):
            for number, resnet in enumerate(block.resnets):
                place = f"{part}.{level}.motion_modules.{number}.temporal_transformer"
                yield from _temporal_weights(place, resnet.out_channels, random)


def _temporal_weights(place: str, width: int, random: Random) -> Iterator[tuple[str, Tensor]]:
    def linear(name: str, into: int, out: int, bias: bool = True) -> Iterator[tuple[str, Tensor]]:
        yield f"{name}.weight", random.normal(out, into, scale=0.7 / math.sqrt(into)).half()
        if bias:
            yield f"{name}.bias", random.normal(out, scale=0.05).half()

    def norm(name: str) -> Iterator[tuple[str, Tensor]]:
        yield f"{name}.weight", (1 + random.normal(width, scale=0.1)).half()
        yield f"{name}.bias", random.normal(width, scale=0.05).half()

    block = f"{place}.transformer_blocks.0"
    yield from norm(f"{place}.norm")
    yield from linear(f"{place}.proj_in", width, width)
    for number in range(2):
        attention = f"{block}.attention_blocks.{number}"
        for part in ("to_q", "to_k", "to_v"):
            yield from linear(f"{attention}.{part}", width, width, bias=False)
        yield from linear(f"{attention}.to_out.0", width, width)
        yield f"{attention}.pos_encoder.pe", _positions(width)
        yield from norm(f"{block}.norms.{number}")
    yield from linear(f"{block}.ff.net.0.proj", width, 8 * width)
    yield from linear(f"{block}.ff.net.2", 4 * width, width)
    yield from norm(f"{block}.ff_norm")
    yield from linear(f"{place}.proj_out", width, width)


def _positions(width: int, length: int = 24) -> Tensor:
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(1, length, width)


def _lora(unet: Any, text: Any, variant: Variant) -> Any:
    random, rank = Random(variant.config["seed"] + 2), variant.config["rank"]

    def changes(model: Any, ends: tuple[str, ...], prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, weight in model.state_dict().items():
            if name.endswith(tuple(f"{end}.weight" for end in ends)) and "attn" in name:
                place = prefix + name.removeprefix("text_model.").removesuffix(".weight")
                yield f"{place}.lora_down.weight", random.normal(rank, weight.shape[1], scale=0.2)
                yield f"{place}.lora_up.weight", random.normal(weight.shape[0], rank, scale=0.3)

    words = {word: random.normal(LAYERS, variant.text_width, scale=0.5) for word in variant.config["concepts"]}
    parts = {
        "new_concept_embedding": words,
        "text_encoder": dict(changes(text, ("q_proj", "k_proj", "v_proj", "out_proj"), "text_model.")),
        "unet": dict(changes(unet, ("to_q", "to_k", "to_v", "to_out.0"), "")),
    }
    return {"params": parts}


def _write_adapter(out: Path, variant: Variant) -> None:
    config, random = variant.config, Random(variant.config["seed"] + 3)
    into, hidden = config["blocks"][::-1][EMBEDDING_BLOCK], config["mid_dim"]
    state = {}
    for level, width in enumerate(config["blocks"]):
        for layer, (source, target) in ((0, (into, hidden)), (2, (hidden, width))):
            name = f"model_list.{level}.mlp.{layer}"
            state[f"{name}.weight"] = random.normal(target, source, scale=0.8 / math.sqrt(source))
            state[f"{name}.bias"] = random.normal(target, scale=0.1)
    torch.save(state, out / "adapter.pth")
    rows = "".join(f"- {width}\n" for width in config["blocks"])
    strides = "".join(f"- {stride}\n" for stride in (8, 16, 32, 64))
    text = f"embedding_channels: {into}\nchannels:\n{rows}downsample_rate:\n{strides}mid_dim: {hidden}\n"
    (out / "point_adapter.yml").write_text(text)
