"""Runs temporal layers inside a plain 2D U-Net: hooks in, hooks out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

FrameCount = Callable[[], int]


def temporal_layer(layer: Any, hidden: Tensor, frames: int, strength: float = 1.0) -> Tensor:
    """One temporal transformer: every place of the map attends over the frames (Guo et al., "AnimateDiff", ICLR 2024).

    Its GroupNorm runs over each frame by itself, as in training; diffusers' own forward runs it over all frames.

    Args:
        layer: a diffusers `AnimateDiffTransformer3D`.
        hidden: [B * frames, C, h, w].
        frames: frames of a clip.
        strength: factor on what the layer adds.

    Returns:
        [B * frames, C, h, w].
    """
    _, channels, height, width = hidden.shape
    sequence = layer.norm(hidden).unflatten(0, (-1, frames)).permute(0, 3, 4, 1, 2)
    sequence = layer.proj_in(sequence.reshape(-1, frames, channels))
    for block in layer.transformer_blocks:
        sequence = block(sequence)
    added = layer.proj_out(sequence).view(-1, height, width, frames, channels).permute(0, 3, 4, 1, 2).flatten(0, 1)
    result: Tensor = hidden + (added if strength == 1.0 else added * strength)
    return result


@contextmanager
def temporal_layers(unet: Any, adapter: Any, frames: FrameCount, strength: float) -> Iterator[None]:
    """Each temporal layer after its (resnet, attention) pair; after the resnet alone where a block has no attention."""
    with ExitStack() as hooks:
        for place, layer in _places(unet, adapter):
            handle = place.register_forward_hook(_after(layer, unet, frames, strength))
            hooks.callback(handle.remove)
        yield


def _places(unet: Any, adapter: Any) -> Iterator[tuple[Any, Any]]:
    pairs = [*zip(unet.down_blocks, adapter.down_blocks, strict=True)]
    pairs += [*zip(unet.up_blocks, adapter.up_blocks, strict=True)]
    if adapter.mid_block is not None:
        pairs.append((unet.mid_block, adapter.mid_block))
    for block, motion in pairs:
        yield from zip(getattr(block, "attentions", None) or block.resnets, motion.motion_modules, strict=True)


def _after(layer: Any, unet: Any, frames: FrameCount, strength: float) -> Any:
    def hook(module: Any, args: Any, output: Any) -> Any:
        def run(hidden: Tensor) -> Tensor:
            count = frames()
            if torch.is_grad_enabled() and unet.is_gradient_checkpointing:
                kept: Tensor = checkpoint(temporal_layer, layer, hidden, count, strength, use_reentrant=False)
                return kept
            return temporal_layer(layer, hidden, count, strength)

        return (run(output[0]), *output[1:]) if isinstance(output, tuple) else run(output)

    return hook


@contextmanager
def norms_over_frames(unet: Any, frames: FrameCount) -> Iterator[None]:
    """GroupNorm of the resnets, and the last one, with one mean and variance for all frames of a clip."""

    def gather(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        clips = args[0].unflatten(0, (-1, frames()))
        return (clips.transpose(1, 2).flatten(2, 3),)

    def scatter(module: Any, args: Any, output: Tensor) -> Tensor:
        frame_by_frame: Tensor = output.unflatten(2, (frames(), -1)).transpose(1, 2).flatten(0, 1)
        return frame_by_frame

    norms = [norm for block in unet.modules() if hasattr(block, "conv1") for norm in (block.norm1, block.norm2)]
    with ExitStack() as hooks:
        for norm in [*norms, unet.conv_norm_out]:
            hooks.callback(norm.register_forward_pre_hook(gather).remove)
            hooks.callback(norm.register_forward_hook(scatter).remove)
        yield
