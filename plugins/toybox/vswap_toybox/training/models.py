"""The model's parts, untrained: VAE, tokenizer, text encoder, U-Net, motion adapter, schedule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vswap_toybox.training.world import WORDS

TOKENS = 77
FRAMES = 16
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789<>-_,."


@dataclass(frozen=True)
class Sizes:
    """Attributes:
    pixels: width and height of the pictures; latents are a quarter of it.
    vae, unet: channels of each level.
    heads: attention heads of each level of the U-Net.
    text: width of the text encoder, of `layers` layers.
    groups: of the U-Net's GroupNorms.
    """

    pixels: int = 64
    vae: tuple[int, ...] = (24, 48, 64)
    unet: tuple[int, ...] = (64, 128, 128, 64)
    heads: tuple[int, ...] = (2, 4, 4, 2)
    text: int = 64
    layers: int = 2
    groups: int = 16

    @property
    def cells(self) -> int:
        """Width and height of the latents."""
        return self.pixels >> (len(self.vae) - 1)


TINY = Sizes(pixels=32, vae=(8, 8, 8), unet=(16, 16, 16, 16), heads=(2, 2, 2, 2), text=16, layers=1, groups=8)
"""For tests of the machinery."""


def make_vae(sizes: Sizes) -> Any:
    """AutoencoderKL of 4 channels, one resnet a block."""
    levels = len(sizes.vae)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=sizes.vae,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=sizes.pixels,
        scaling_factor=1.0,
    )


def make_unet(sizes: Sizes) -> Any:
    """The topology of Stable Diffusion 1.5: four levels, two layers a block, 16 cross-attention layers.

    diffusers calls the number of heads `attention_head_dim`.
    """
    unet = UNet2DConditionModel(
        sample_size=sizes.cells,
        block_out_channels=sizes.unet,
        attention_head_dim=sizes.heads,
        cross_attention_dim=sizes.text,
        norm_num_groups=sizes.groups,
    )
    return with_plain_attention(unet)


def with_plain_attention(unet: Any) -> Any:
    """On a CPU the backward pass of scaled_dot_product_attention costs twice what two products do at this size."""
    if not torch.cuda.is_available():
        unet.set_attn_processor(AttnProcessor())
    return unet


def make_text_encoder(sizes: Sizes, tokenizer: Any) -> Any:
    """A CLIPTextModel of 77 positions."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.text,
            intermediate_size=4 * sizes.text,
            num_hidden_layers=sizes.layers,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=sizes.text,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_motion(sizes: Sizes) -> Any:
    """A MotionAdapter that adds nothing yet: diffusers leaves `proj_out` random, which would spoil every frame."""
    adapter = MotionAdapter(
        block_out_channels=sizes.unet,
        motion_layers_per_block=2,
        motion_mid_block_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=sizes.groups,
        motion_max_seq_length=FRAMES,
        use_motion_mid_block=True,
    )
    for name, module in adapter.named_modules():
        if name.endswith("proj_out"):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return adapter


def make_schedule() -> Any:
    """Stable Diffusion 1.5's: noise is predicted, 1000 steps, scaled linear from 0.00085 to 0.012."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def write_tokenizer(folder: Path) -> Any:
    """A BPE tokenizer to which each of `WORDS` is one token; it spells other words letter by letter."""
    vocabulary = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(WORDS, key=len, reverse=True):  # or the merge that makes "at" would split "cat"
        whole = f"{word[0]}</w>" if len(word) == 1 else word[0]
        for letter in [*word[1:-1], *([f"{word[-1]}</w>"] if len(word) > 1 else [])]:
            merges[whole, letter] = None
            whole += letter
            if whole not in vocabulary:
                vocabulary.append(whole)
    vocabulary += [BOS, EOS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}, indent=0) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "do_lower_case": True} | special
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(str(folder))


def token_ids(tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """int64 [len(texts), 77], padded as the backbone `sd15` pads."""
    made = tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    ids: torch.Tensor = made.input_ids
    return ids
