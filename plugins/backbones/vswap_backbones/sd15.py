"""`sd15`: Stable-Diffusion-1.5-class models (Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion
Models", CVPR 2022), the frames of a clip in the batch of the plain 2D U-Net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from vswap_backbones.attention import Capture
from vswap_backbones.layers import TOKENS, cross_attention_layers, one_sequence, route_text
from vswap_backbones.loading import load, prepare
from vswap_backbones.register import StableDiffusionOptions
from vswap_backbones.windows import Part, in_windows
from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import CrossAttentionLayer, Window
from vswap_kernel.types import ByteArray, Prompt


class StableDiffusion:
    """Implements `vswap_kernel.protocols.Backbone`."""

    family = "sd15-unet"
    frames: int
    first: int
    window: Window | None

    def __init__(self, options: StableDiffusionOptions, context: Context) -> None:
        """Load the model.

        Raises:
            InputError: not a Stable-Diffusion-1.5-class model, or a file with code in it.
            MissingExtraError: xformers is asked for and isn't installed.
        """
        self._options, self._device = options, torch.device(context.device)
        self.dtype: torch.dtype = getattr(torch, context.dtype)
        model = load(options, self.dtype)
        self.unet, self.vae, self.text_encoder, self.tokenizer = (
            model.unet,
            model.vae,
            model.text_encoder,
            model.tokenizer,
        )
        self.alphas_cumprod: Tensor = model.alphas_cumprod
        self.latent_scale = float(model.vae.config.scaling_factor)
        self.frames, self.first, self.window = 1, 0, None
        self._layers = cross_attention_layers(self.unet)
        self._captures: list[Capture] = []
        prepare(model, options)
        route_text(self.unet, self._layers)
        self._at_work: Any = None
        if not options.offload:
            for module in (self.unet, self.vae, self.text_encoder):
                module.to(self._device)

    @property
    def device(self) -> torch.device:
        """Where results are."""
        return self._device

    @property
    def layers(self) -> Sequence[CrossAttentionLayer]:
        return self._layers

    def _ready(self, module: Any) -> Any:
        """The module on the device; with `offload`, in place of the one that was there."""
        if self._options.offload and self._at_work is not module:
            if self._at_work is not None:
                self._at_work.to("cpu")
            module.to(self._device)
            self._at_work = module
        return module

    @torch.no_grad()
    def encode(self, frames: ByteArray, /, generator: Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """Latents [F, 4, h, w] in float32; `noise` [F, 4, h, w] stands in for what `generator` would draw."""
        vae, means, deviations = self._ready(self.vae), [], []
        for start in range(0, len(frames), self._options.vae_batch):
            pixels = torch.from_numpy(np.array(frames[start : start + self._options.vae_batch]))
            pixels = pixels.to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
            posterior = vae.encode(pixels.to(vae.dtype)).latent_dist
            means.append(posterior.mean.float())
            deviations.append(posterior.std.float())
        latents, deviation = torch.cat(means), torch.cat(deviations)
        if generator is not None and noise is None:
            noise = torch.randn(latents.shape, generator=generator, device=generator.device)
        if noise is not None:
            latents = latents + deviation * noise.to(latents)
        return latents * self.latent_scale

    @torch.no_grad()
    def decode(self, latents: Tensor, /) -> ByteArray:
        vae, frames = self._ready(self.vae), []
        for part in latents.split(self._options.vae_batch):
            scaled = (part.to(self._device, torch.float32) / self.latent_scale).to(vae.dtype)
            image = (vae.decode(scaled).sample.float() / 2 + 0.5).clamp(0, 1)
            frames.append((image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(frames)

    @torch.no_grad()
    def embed_text(self, prompt: Prompt, /) -> Tensor:
        texts = [prompt.text] if prompt.per_layer is None else list(prompt.per_layer)
        if prompt.per_layer is not None and len(texts) != len(self._layers):
            raise InputError(f"{len(texts)} texts for {len(self._layers)} cross-attention layers: {prompt.text!r}")
        different = list(dict.fromkeys(texts))
        made = self.tokenizer(different, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
        embedded: Tensor = self._ready(self.text_encoder)(made.input_ids.to(self._device))[0]
        return embedded[[different.index(text) for text in texts]]

    def predict(
        self,
        latents: Tensor,
        timestep: int,
        text: Tensor,
        /,
        *,
        frames: int,
        residuals: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Predicted noise [B * F, 4, h, w] in the number type of `latents`; gradients flow to latents and residuals.

        Raises:
            InputError: shapes that don't fit together.
        """
        if frames < 1 or len(latents) % frames:
            raise InputError(f"latents {list(latents.shape)}: not a batch of clips of {frames} frames")
        levels = len(self.unet.config.block_out_channels)
        if residuals is not None and len(residuals) != levels:
            raise InputError(f"residuals of {len(residuals)} levels for a U-Net of {levels}")
        self._ready(self.unet)
        clips = len(latents) // frames
        sequence = one_sequence(text, clips, len(self._layers)).to(self._device, self.dtype)
        for capture in self._captures:
            capture.begin()

        def run(part: Part | None) -> Tensor:
            if part is None:
                return self._pass(latents, timestep, sequence, frames, residuals, None, frames)
            cut = None if residuals is None else [part.of(level, frames) for level in residuals]
            length = part.stop - part.start
            return self._pass(part.of(latents, frames), timestep, sequence, length, cut, part, frames)

        if self.window is None or frames <= self.window.length:
            return run(None)
        return in_windows(run, frames, self.window)

    def _pass(
        self,
        latents: Tensor,
        timestep: int,
        text: Tensor,
        frames: int,
        residuals: Sequence[Tensor] | None,
        part: Part | None,
        whole: int,
    ) -> Tensor:
        self.frames, self.first = frames, 0 if part is None else part.start
        inputs: dict[str, Any] = {"encoder_hidden_states": text, "return_dict": False}
        hooks = []
        if residuals is not None:
            levels = [level.to(self._device, self.dtype) for level in residuals]
            clips = len(latents) // frames
            *inner, last = (x if len(x) == len(latents) else x.repeat(clips, 1, 1, 1) for x in levels)
            inputs["down_intrablock_additional_residuals"] = inner
            hooks.append(self.unet.down_blocks[-1].register_forward_hook(_added_after_skips(last)))
        try:
            moment = torch.tensor(timestep, device=self._device)
            predicted: Tensor = self.unet(latents.to(self._device, self.dtype), moment, **inputs)[0]
        finally:
            for hook in hooks:
                hook.remove()
        for capture in self._captures:
            capture.collect(frames, (latents.shape[-2], latents.shape[-1]), part, whole)
        return predicted.to(latents.dtype)

    @contextmanager
    def capture_attention(self, tokens: Sequence[int], layers: Sequence[int], /) -> Iterator[Capture]:
        """See `Backbone.capture_attention`.

        Raises:
            InputError: a token beyond the 77th, a layer that isn't there.
        """
        if not all(0 <= token < TOKENS for token in tokens) or not all(0 <= i < len(self._layers) for i in layers):
            raise InputError(
                f"no attention maps of tokens {list(tokens)} at layers {list(layers)}: "
                f"there are {TOKENS} tokens and {len(self._layers)} layers"
            )
        modules = {index: self.unet.get_submodule(self._layers[index].path) for index in layers}
        capture = Capture(modules, {index: self._layers[index].stride for index in layers}, tokens)
        self._captures.append(capture)
        try:
            yield capture
        finally:
            self._captures.remove(capture)
            capture.close()


def _added_after_skips(residual: Tensor) -> Any:
    """A hook for the last down block: its output gets the residual, its skip tensors don't. diffusers would add it in
    place, and the output and the last skip tensor are the same one."""

    def hook(module: Any, args: Any, output: tuple[Tensor, tuple[Tensor, ...]]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return output[0] + residual, output[1]

    return hook
