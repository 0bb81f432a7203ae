"""`attention`: the subject where the backbone's cross-attention sees its words, without any other weights.

A frame is noised a little and denoised once under a prompt. How much each place of it looks at a word's tokens tells
where the word is (Hertz et al., "Prompt-to-Prompt Image Editing with Cross Attention Control", 2022); maps of several
layers, timesteps and noises are averaged at the finest one's resolution (Tang et al., "What the DAAM: Interpreting
Stable Diffusion Using Cross Attention", ACL 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone
from vswap_kernel.types import ByteArray, Masks, PointQueries, Prompt, Video
from vswap_masks.following import subject_masks
from vswap_masks.register import AttentionOptions, unread

_CHUNK = 16
_TOKENS = 77


class Attention:
    """Masker that looks at each frame alone, then follows the subject's parts through time from the points on it."""

    def __init__(self, options: AttentionOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        """Masks of the video's size and length.

        Raises:
            InputError: the prompt is cut off before the subject's words end; the backbone has no layers of the asked
                scales; nothing is found at the points.
        """
        options, scratch = self._options, self._context.scratch
        backbone: Backbone = self._context.components["backbone"]
        tokens = subject_tokens(backbone.tokenizer, options)
        strides = {i: layer.stride for i, layer in enumerate(backbone.layers) if layer.stride in options.scales}
        if not strides:
            there = ", ".join(map(str, sorted({layer.stride for layer in backbone.layers})))
            raise InputError(f"masks.scales: the backbone has no such cross-attention layers; it has {there}")
        with backbone.capture_attention(tokens, list(strides)) as maps:
            attention = SubjectAttention.prepare(backbone, maps, strides, options, video.size, self._context.seed)
            found = Masks.stream(self._find(video, attention), scratch / "found.safetensors")
        missing = f"masks.subject: {options.subject!r} is not found"
        masks = subject_masks(found, queries, options, self._context.progress, missing)
        return Masks.stream(masks, scratch / "masks.safetensors")

    def _find(self, video: Video, attention: SubjectAttention) -> Iterator[ByteArray]:
        """Where the attention reaches the threshold, frame by frame: 0 or 255."""
        for start, frames in video.chunks(max(1, self._options.batch // self._options.ensemble)):
            share = attention.pixels(attention.cells(frames), video.size)
            self._context.progress(start + len(frames), len(video), "finding the subject")
            yield (share >= self._options.threshold).numpy().astype(np.uint8) * np.uint8(255)


def subject_tokens(tokenizer: Any, options: AttentionOptions) -> list[int]:
    """The token positions (0..76) at which the subject's words first stand in the prompt as whole words.

    Raises:
        InputError: they are cut off, or are no tokens of their own there.
    """

    def tokens(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, truncation=True, max_length=_TOKENS + 1).input_ids
        return ids[:-1]

    text, place = options.text, options.place
    assert place is not None, "checked by the options"
    start, whole, words = len(tokens(text[: place[0]])), tokens(text), tokens(text[slice(*place)])[1:]
    if start + len(words) > _TOKENS - 1:
        raise InputError(f"masks.{unread(options.subject)}")
    if not words or whole[start : start + len(words)] != words:
        raise InputError(
            f"masks.subject: {options.subject!r} is not read as words of its own in {text!r}; put spaces around it"
        )
    return list(range(start, start + len(words)))


@dataclass(frozen=True, eq=False)
class SubjectAttention:
    """How much the places of a frame look at the subject's tokens.

    Attributes:
        backbone: predicts; no motion module is attached, so that frames don't depend on each other.
        maps: what its `capture_attention` fills.
        strides: of each layer captured, the latent cells that its cell spans.
        text: embedding [1, 77, C] of the prompt.
        noise: float32 [E, 4, h, w], the same for every frame, so that equal frames have equal masks.
        timesteps: that the noise is added at.
        batch: U-Net passes at once.
    """

    backbone: Backbone
    maps: Mapping[int, Tensor]
    strides: Mapping[int, int]
    text: Tensor
    noise: Tensor
    timesteps: Sequence[int]
    batch: int

    @classmethod
    def prepare(
        cls,
        backbone: Backbone,
        maps: Mapping[int, Tensor],
        strides: Mapping[int, int],
        options: AttentionOptions,
        size: tuple[int, int],
        seed: int,
    ) -> SubjectAttention:
        """For frames of `size` (width, height); the noise is equal for equal seeds on every device."""
        side = _pixels_per_cell(backbone)
        rows, columns = -(-size[1] // side), -(-size[0] // side)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((options.ensemble, 4, rows, columns), generator=generator)
        with torch.no_grad():
            text = backbone.embed_text(Prompt(options.text))
        return cls(backbone, maps, strides, text, noise, options.timesteps, options.batch)

    @torch.no_grad()
    def cells(self, frames: ByteArray) -> Tensor:
        """Attention float32 [F, rows, columns] of frames uint8 [F, H, W, 3] at the finest layers, over its largest
        value in the frame; mean over layers, timesteps and noises, sum over tokens."""
        latents, total = self.backbone.encode(self._padded(frames)), None
        members = len(self.noise)
        for timestep in self.timesteps:
            signal = self.backbone.alphas_cumprod[timestep].to(latents)
            for indices in torch.split(torch.arange(len(frames) * members), self.batch):
                frame, noise = indices // members, self.noise[indices % members].to(latents)
                noised = signal**0.5 * latents[frame.to(latents.device)] + (1 - signal) ** 0.5 * noise
                self.backbone.predict(noised, timestep, self.text, frames=len(noised))
                seen = self._mean_over_layers().cpu()
                if total is None:
                    total = torch.zeros(len(frames), *seen.shape[1:])
                total.index_add_(0, frame, seen)
        assert total is not None, "there is at least one timestep"
        return total / total.amax((1, 2), keepdim=True).clamp_min(torch.finfo(total.dtype).tiny)

    def pixels(self, cells: Tensor, size: tuple[int, int]) -> Tensor:
        """What `cells` gave [F, rows, columns], bilinear at every pixel of frames of `size` (width, height)."""
        side = _pixels_per_cell(self.backbone) * min(self.strides.values())
        return _enlarged(cells, side, (size[1], size[0]))

    def _padded(self, frames: ByteArray) -> ByteArray:
        """Frames [F, H, W, 3] with their last row and column repeated until whole latent cells cover them."""
        side = _pixels_per_cell(self.backbone)
        bottom, right = -frames.shape[1] % side, -frames.shape[2] % side
        return np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge") if bottom or right else frames

    def _mean_over_layers(self) -> Tensor:
        """Of the last prediction: float32 [F, rows, columns] at the finest layers."""
        finest = min(self.strides.values())
        maps = {layer: self.maps[layer][0].sum(1) for layer in self.strides}
        rows, columns = next(maps[layer].shape[1:] for layer, stride in self.strides.items() if stride == finest)
        resized = [_enlarged(maps[layer], stride // finest, (rows, columns)) for layer, stride in self.strides.items()]
        return torch.stack(resized).mean(0)


def _pixels_per_cell(backbone: Backbone) -> int:
    """The side of a latent cell."""
    return int(2 ** (len(backbone.vae.config.block_out_channels) - 1))


def _enlarged(maps: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Maps [F, h, w] made larger by a whole factor (bilinear), and cropped to `size` (height, width): the last cells
    of a coarse map may reach beyond the picture, and stretching it to the picture would shift all others."""
    wide = interpolate(maps[:, None], scale_factor=factor, mode="bilinear") if factor > 1 else maps[:, None]
    return wide[:, 0, : size[0], : size[1]]
