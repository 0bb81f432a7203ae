"""A Stable-Diffusion-shaped model with tiny random weights, and motion modules and concepts that fit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

torch.set_num_threads(1)  # with tensors this small, more threads only wait for each other

WIDTHS = (32, 32, 64, 64)
TEXT_WIDTH = 16
LAYERS = 16


def unet(**changes: Any) -> Any:
    settings = {"block_out_channels": WIDTHS, "cross_attention_dim": TEXT_WIDTH, "attention_head_dim": 4}
    return UNet2DConditionModel(**settings | {"norm_num_groups": 8, "sample_size": 16} | changes)


def write_tokenizer(folder: Path, letters: str = "abcdefghijklmnopqrstuvwxyz0123456789<>_,.") -> None:
    """A vocabulary of single letters, and of letters that end a word."""
    folder.mkdir()
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | special))


def write_model(folder: Path, **unet_changes: Any) -> Path:
    """A diffusers folder."""
    torch.manual_seed(0)
    unet(**unet_changes).save_pretrained(folder / "unet")
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    vae = AutoencoderKL(**blocks, block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4)
    vae.save_pretrained(folder / "vae")
    size = {"hidden_size": TEXT_WIDTH, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    CLIPTextModel(CLIPTextConfig(vocab_size=84, bos_token_id=82, eos_token_id=83, **size)).save_pretrained(
        folder / "text_encoder"
    )
    write_tokenizer(folder / "tokenizer")
    schedule = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False
    )
    schedule.save_pretrained(folder / "scheduler")
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
    index = {name: ["diffusers", kind] for name, kind in parts.items()}
    index |= {
        name: ["transformers", kind]
        for name, kind in (("text_encoder", "CLIPTextModel"), ("tokenizer", "CLIPTokenizer"))
    }
    nothing = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"} | index | nothing))
    return folder


def adapter(
    seed: int = 1, widths: tuple[int, ...] = WIDTHS, positions: int = 24, mid_block: bool = False, groups: int = 32
) -> Any:
    """A motion module whose layers do something."""
    torch.manual_seed(seed)
    made = MotionAdapter(
        block_out_channels=widths,
        use_motion_mid_block=mid_block,
        motion_max_seq_length=positions,
        motion_norm_num_groups=groups,
    )
    return made.eval().requires_grad_(False)


def original_names(module: Any) -> dict[str, torch.Tensor]:
    """An adapter's tensors under the names of an original AnimateDiff checkpoint."""
    found = {}
    for name, value in module.state_dict().items():
        head, _, tail = name.partition(".motion_modules.")
        number, _, rest = tail.partition(".")
        rest = rest.replace(".norm1.", ".norms.0.").replace(".norm2.", ".norms.1.").replace(".norm3.", ".ff_norm.")
        rest = rest.replace(".attn1.", ".attention_blocks.0.").replace(".attn2.", ".attention_blocks.1.")
        rest = rest.replace(".pos_embed.pe", ".attention_blocks.0.pos_encoder.pe")
        place = f"{head}.motion_modules.{number}.temporal_transformer"
        found[f"{place}.{rest}"] = value.clone()
        if rest.endswith(".pe"):
            found[f"{place}.{rest.replace('attention_blocks.0', 'attention_blocks.1')}"] = value.clone()
    return found


def lora_params(model: Any, text_encoder: Any, words: tuple[str, ...] = ("<toy>",), width: int = TEXT_WIDTH) -> Any:
    """The reference's kind of ED-LoRA content for these modules, with random values."""
    random = torch.Generator().manual_seed(5)

    def changes(module: Any, ends: tuple[str, ...], prefix: str = "") -> dict[str, torch.Tensor]:
        found = {}
        for name, layer in module.named_modules():
            if name.endswith(ends):
                out, into = layer.weight.shape[:2]
                found[f"{prefix}{name}.lora_down.weight"] = torch.randn(2, into, generator=random) * 0.3
                found[f"{prefix}{name}.lora_up.weight"] = torch.randn(out, 2, generator=random) * 0.3
        return found

    embeddings = {word: torch.randn(LAYERS, width, generator=random) for word in words}
    text = changes(text_encoder, ("q_proj", "v_proj"), "text_model.")
    return {
        "params": {
            "new_concept_embedding": embeddings,
            "text_encoder": text,
            "unet": changes(model, ("to_q", "to_k", "to_out.0")),
        }
    }
