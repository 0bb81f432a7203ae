"""The models of a written set, read back as the reference reads them, and what every recording needs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .models import LAYERS, Random, write_json
from .naive_parts import alphas_cumprod, merged
from .naive_unet import NaiveUNet
from .scene import read_frames
from .variants import Variant

SCALE = 0.18215


def clips_first(frames: Tensor, clips: int = 1) -> Tensor:
    """[B * F, C, h, w] as [B, C, F, h, w]."""
    moved: Tensor = frames.unflatten(0, (clips, -1)).transpose(1, 2).contiguous()
    return moved


class Session:
    """One set under way. VAE and text encoder are those of diffusers and transformers."""

    def __init__(self, out: Path, variant: Variant) -> None:
        self.out, self.variant, self.config = out, variant, variant.config
        self.vae = AutoencoderKL.from_pretrained(out / "tiny-sd" / "vae", use_safetensors=False).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(out / "tiny-sd" / "tokenizer")
        self.alphas = alphas_cumprod()
        self.unet = self._floats(out / "tiny-sd" / "unet" / "diffusion_pytorch_model.bin")
        self.motion = self._floats(out / "mm_tiny.ckpt")
        self.adapter = self._floats(out / "adapter.pth")
        self.lora = torch.load(out / self.config["lora_name"], weights_only=True)["params"]
        self.tap = self.read_tap("TAP.pth")
        self.size = self.config["H"], self.config["W"]
        self.cells = self.size[0] // 8, self.size[1] // 8

    @staticmethod
    def _floats(path: Path) -> dict[str, Tensor]:
        return {name: value.float() for name, value in torch.load(path, weights_only=True).items()}

    def random(self, purpose: int) -> Random:
        return Random(1000 * self.config["seed"] + purpose)

    def read_tap(self, name: str) -> Any:
        return torch.load(self.out / name, weights_only=True)

    def write(self, name: str, tensors: Mapping[str, Tensor], notes: Any = None) -> None:
        plain = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
        save_file(plain, self.out / f"{name}.safetensors")
        if notes is not None:
            write_json(self.out / f"{name}.json", notes)

    @cached_property
    def lora_unet(self) -> dict[str, Tensor]:
        return merged(self.unet, self.lora["unet"], self.config["alpha"])

    def net(self, *, lora: bool = False, motion: bool = True) -> NaiveUNet:
        weights = self.lora_unet if lora else self.unet
        groups, heads = self.variant.norm_groups, self.config["heads"]
        return NaiveUNet(weights, heads, groups, self.motion if motion else None)

    def frames(self, folder: str = "frames") -> Any:
        """uint8 [F, H, W, 3]."""
        return read_frames(self.out / folder)

    @torch.no_grad()
    def posterior(self, frames: Any) -> tuple[Tensor, Tensor]:
        """Mean and deviation [F, 4, h, w] of the unscaled latents."""
        pixels = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
        found = [self.vae.encode(one[None]).latent_dist for one in pixels]
        return torch.cat([one.mean for one in found]), torch.cat([one.std for one in found])

    def subject(self, swap: str) -> tuple[str, str]:
        old, new = self.config[swap].split(" -> ")
        return old, new

    def swapped(self, swap: str) -> str:
        old, new = self.subject(swap)
        prompt: str = self.config["prompt"].replace(old, new)
        return prompt

    # text

    def ids(self, texts: Sequence[str], tokenizer: Any = None) -> Tensor:
        tokenizer = tokenizer or self.tokenizer
        made = tokenizer(list(texts), padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        ids: Tensor = made.input_ids
        return ids

    @cached_property
    def text_state(self) -> dict[str, Tensor]:
        return load_file(self.out / "tiny-sd" / "text_encoder" / "model.safetensors")

    def text_encoder(self) -> Any:
        return CLIPTextModel.from_pretrained(self.out / "tiny-sd" / "text_encoder").eval()

    @cached_property
    def plain_text(self) -> Any:
        return self.text_encoder()

    @torch.no_grad()
    def embed(self, *texts: str) -> Tensor:
        """[texts, 77, C] without the concept."""
        embedded: Tensor = self.plain_text(self.ids(texts))[0]
        return embedded

    @cached_property
    def concept_words(self) -> dict[str, list[str]]:
        return {word: [f"<{word}_{layer}>" for layer in range(LAYERS)] for word in self.config["concepts"]}

    @cached_property
    def concept_tokenizer(self) -> Any:
        """A tokenizer that the new words were added to, as the reference does."""
        tokenizer = CLIPTokenizer.from_pretrained(self.out / "tiny-sd" / "tokenizer")
        for names in self.concept_words.values():
            tokenizer.add_tokens(names)
        return tokenizer

    @cached_property
    def lora_text_state(self) -> dict[str, Tensor]:
        return merged(self.text_state, self.lora["text_encoder"], self.config["alpha"])

    @cached_property
    def concept_text(self) -> Any:
        """A text encoder whose table has grown, with merged weights."""
        model = self.text_encoder()
        own = model.state_dict()
        for name, value in self.lora_text_state.items():
            own[name if name in own else name.removeprefix("text_model.")].copy_(value)
        model.resize_token_embeddings(len(self.concept_tokenizer), mean_resizing=False)
        table = model.get_input_embeddings().weight
        with torch.no_grad():
            for word, names in self.concept_words.items():
                places = self.concept_tokenizer.convert_tokens_to_ids(names)
                table[places] = self.lora["new_concept_embedding"][word]
        return model

    def bound(self, text: str) -> list[str]:
        """The text as each layer reads it."""
        texts = []
        for layer in range(LAYERS):
            own = text
            for word, names in self.concept_words.items():
                own = own.replace(word, names[layer])
            texts.append(own)
        return texts

    @torch.no_grad()
    def embed_concept(self, text: str) -> Tensor:
        """[LAYERS, 77, C], the concept merged."""
        embedded: Tensor = self.concept_text(self.ids(self.bound(text), self.concept_tokenizer))[0]
        return embedded
