"""The U-Net with its motion module, written out on bare weights: explicit attention probabilities, norms by their
formula, GroupNorm of the resnets over all frames. No class of diffusers and nothing of vswap is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]
Change = Callable[[str, Tensor], Tensor]
"""(path of the attention module, probabilities [N, heads, queries, keys]) to the probabilities that are used."""


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, clips: int | None = None) -> Tensor:
    """[N, C, h, w]; one mean and variance for each group of each clip, or of each picture where clips is None."""
    n, channels, height, width = x.shape
    rows = n if clips is None else clips
    parts = x.reshape(rows, n // rows, groups, channels // groups, height, width)
    mean = parts.mean((1, 3, 4, 5), keepdim=True)
    variance = ((parts - mean) ** 2).mean((1, 3, 4, 5), keepdim=True)
    normal = ((parts - mean) / (variance + eps).sqrt()).reshape(x.shape)
    return normal * weight[:, None, None] + bias[:, None, None]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def sinusoid(timestep: float, width: int) -> Tensor:
    """The timestep's embedding [1, width], cosines first."""
    rates = [math.exp(-math.log(10000) * i / (width // 2)) for i in range(width // 2)]
    angles = timestep * torch.tensor(rates, dtype=torch.float32)
    return torch.cat([angles.cos(), angles.sin()])[None]


@dataclass
class NaiveUNet:
    """Attributes:
    weights: of the U-Net; `motion`: of an original AnimateDiff checkpoint, None: no motion module.
    up_outputs: what each up block put out in the last call.
    """

    weights: Weights
    heads: int
    groups: int
    motion: Weights | None = None
    motion_heads: int = 8
    change: Change | None = None
    up_outputs: list[Tensor] = field(default_factory=list)

    def __call__(
        self, x: Tensor, timestep: float, text: Tensor, frames: int, residuals: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Noise [B * frames, 4, h, w].

        Args:
            x: [B * frames, 4, h, w].
            timestep: it may be negative.
            text: [B, 77, C], or [B, layers, 77, C].
            frames: of a clip.
            residuals: [frames, C, h, w] of each level, the same for each clip.
        """
        self.frames, self.clips, self.text, self.layer = frames, len(x) // frames, text, 0
        self.up_outputs = []
        embedding = self.linear("time_embedding.linear_1", sinusoid(timestep, self.weights["conv_in.bias"].shape[0]))
        self.time = self.linear("time_embedding.linear_2", functional.silu(embedding))
        x = functional.conv2d(x, self.weights["conv_in.weight"], self.weights["conv_in.bias"], padding=1)
        skips, levels = [x], self.count("down_blocks.{}.resnets.0.norm1.weight")
        for level in range(levels):
            x = self.down(level, x, skips, None if residuals is None else residuals[level].repeat(self.clips, 1, 1, 1))
        x = self.resnet("mid_block.resnets.0", x)
        x = self.resnet("mid_block.resnets.1", self.transformer("mid_block.attentions.0", x))
        for block in range(levels):
            x = self.up(block, x, skips)
        norm = self.weights["conv_norm_out.weight"], self.weights["conv_norm_out.bias"]
        x = functional.silu(group_norm(x, *norm, self.groups, 1e-5, self.clips))
        return functional.conv2d(x, self.weights["conv_out.weight"], self.weights["conv_out.bias"], padding=1)

    def count(self, pattern: str) -> int:
        number = 0
        while pattern.format(number) in self.weights:
            number += 1
        return number

    def linear(self, name: str, x: Tensor, weights: Weights | None = None) -> Tensor:
        weights = self.weights if weights is None else weights
        result = x @ weights[f"{name}.weight"].T
        return result + weights[f"{name}.bias"] if f"{name}.bias" in weights else result

    def down(self, level: int, x: Tensor, skips: list[Tensor], residual: Tensor | None) -> Tensor:
        """The last level's residual comes after its skips are taken; the others' go into the last skip, too."""
        name = f"down_blocks.{level}"
        pairs = self.count(name + ".resnets.{}.norm1.weight")
        last = f"{name}.downsamplers.0.conv.weight" not in self.weights
        for pair in range(pairs):
            x = self.pair(name, pair, x)
            if residual is not None and pair == pairs - 1 and not last:
                x = x + residual
            skips.append(x)
        if not last:
            weight, bias = (self.weights[f"{name}.downsamplers.0.conv.{kind}"] for kind in ("weight", "bias"))
            x = functional.conv2d(x, weight, bias, stride=2, padding=1)
            skips.append(x)
        return x + residual if residual is not None and last else x

    def up(self, block: int, x: Tensor, skips: list[Tensor]) -> Tensor:
        name = f"up_blocks.{block}"
        for pair in range(self.count(name + ".resnets.{}.norm1.weight")):
            x = self.pair(name, pair, torch.cat([x, skips.pop()], 1))
        if f"{name}.upsamplers.0.conv.weight" in self.weights:
            height, width = skips[-1].shape[-2:]
            rows = torch.arange(height) * x.shape[-2] // height
            columns = torch.arange(width) * x.shape[-1] // width
            weight, bias = (self.weights[f"{name}.upsamplers.0.conv.{kind}"] for kind in ("weight", "bias"))
            x = functional.conv2d(x[:, :, rows][..., columns], weight, bias, padding=1)
        self.up_outputs.append(x)
        return x

    def pair(self, name: str, number: int, x: Tensor) -> Tensor:
        """A resnet, its attention if it has some, and its temporal layer."""
        x = self.resnet(f"{name}.resnets.{number}", x)
        if f"{name}.attentions.{number}.norm.weight" in self.weights:
            x = self.transformer(f"{name}.attentions.{number}", x)
        return x if self.motion is None else self.temporal(f"{name}.motion_modules.{number}.temporal_transformer", x)

    def resnet(self, name: str, x: Tensor) -> Tensor:
        def part(layer: str) -> tuple[Tensor, Tensor]:
            return self.weights[f"{name}.{layer}.weight"], self.weights[f"{name}.{layer}.bias"]

        hidden = functional.silu(group_norm(x, *part("norm1"), self.groups, 1e-5, self.clips))
        hidden = functional.conv2d(hidden, *part("conv1"), padding=1)
        hidden = hidden + self.linear(f"{name}.time_emb_proj", functional.silu(self.time))[..., None, None]
        hidden = functional.silu(group_norm(hidden, *part("norm2"), self.groups, 1e-5, self.clips))
        hidden = functional.conv2d(hidden, *part("conv2"), padding=1)
        if f"{name}.conv_shortcut.weight" in self.weights:
            x = functional.conv2d(x, *part("conv_shortcut"))
        return x + hidden

    def attention(self, name: str, x: Tensor, context: Tensor, heads: int, weights: Weights) -> Tensor:
        """x [N, queries, C] looks at context [N, keys, D]."""
        query, key, value = (
            self.linear(f"{name}.{part}", source, weights).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part, source in (("to_q", x), ("to_k", context), ("to_v", context))
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        exponents = (scores - scores.amax(-1, keepdim=True)).exp()
        probabilities = exponents / exponents.sum(-1, keepdim=True)
        if self.change is not None and weights is self.weights:
            probabilities = self.change(name, probabilities)
        return self.linear(f"{name}.to_out.0", (probabilities @ value).transpose(1, 2).flatten(2), weights)

    def feed_forward(self, name: str, x: Tensor, weights: Weights) -> Tensor:
        hidden, gate = self.linear(f"{name}.net.0.proj", x, weights).chunk(2, -1)
        return self.linear(f"{name}.net.2", hidden * functional.gelu(gate), weights)

    def normed(self, name: str, x: Tensor, weights: Weights) -> Tensor:
        return layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def own_text(self) -> Tensor:
        """This layer's text, once for each frame."""
        text = self.text[:, self.layer] if self.text.ndim == 4 else self.text
        self.layer += 1
        return text.expand(self.clips, -1, -1).repeat_interleave(self.frames, 0)

    def transformer(self, name: str, x: Tensor) -> Tensor:
        weights, block = self.weights, f"{name}.transformer_blocks.0"
        hidden = group_norm(x, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"], self.groups, 1e-6)
        hidden = functional.conv2d(hidden, weights[f"{name}.proj_in.weight"], weights[f"{name}.proj_in.bias"])
        shape, hidden = hidden.shape, hidden.flatten(2).transpose(1, 2)
        normal = self.normed(f"{block}.norm1", hidden, weights)
        hidden = hidden + self.attention(f"{block}.attn1", normal, normal, self.heads, weights)
        normal = self.normed(f"{block}.norm2", hidden, weights)
        hidden = hidden + self.attention(f"{block}.attn2", normal, self.own_text(), self.heads, weights)
        hidden = hidden + self.feed_forward(f"{block}.ff", self.normed(f"{block}.norm3", hidden, weights), weights)
        hidden = hidden.transpose(1, 2).reshape(shape)
        return x + functional.conv2d(hidden, weights[f"{name}.proj_out.weight"], weights[f"{name}.proj_out.bias"])

    def temporal(self, name: str, x: Tensor) -> Tensor:
        assert self.motion is not None
        weights, block = self.motion, f"{name}.transformer_blocks.0"
        n, channels, height, width = x.shape
        hidden = group_norm(x, weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"], 32, 1e-6)
        hidden = hidden.unflatten(0, (self.clips, self.frames)).permute(0, 3, 4, 1, 2)
        hidden = self.linear(f"{name}.proj_in", hidden.reshape(-1, self.frames, channels), weights)
        for number in range(2):
            normal = self.normed(f"{block}.norms.{number}", hidden, weights)
            attention = f"{block}.attention_blocks.{number}"
            normal = normal + weights[f"{attention}.pos_encoder.pe"][:, : self.frames]
            hidden = hidden + self.attention(attention, normal, normal, self.motion_heads, weights)
        hidden = hidden + self.feed_forward(f"{block}.ff", self.normed(f"{block}.ff_norm", hidden, weights), weights)
        hidden = self.linear(f"{name}.proj_out", hidden, weights)
        hidden = hidden.reshape(self.clips, height, width, self.frames, channels).permute(0, 3, 4, 1, 2)
        return x + hidden.reshape(n, channels, height, width)
