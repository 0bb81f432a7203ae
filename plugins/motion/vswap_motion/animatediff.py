"""`animatediff`: the temporal layers of AnimateDiff (Guo et al., "AnimateDiff: Animate Your Personalized Text-to-Image
Diffusion Models without Specific Tuning", ICLR 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone, Window
from vswap_motion.checkpoint import MotionCheckpoint, converted, examine, locate, read_weights
from vswap_motion.preflight import check_frames, check_overlap, check_widths
from vswap_motion.register import AnimateDiffOptions
from vswap_motion.temporal import norms_over_frames, temporal_layers


class AnimateDiff:
    """Implements `vswap_kernel.protocols.MotionModule`."""

    def __init__(self, options: AnimateDiffOptions, context: Context) -> None:
        """Read the checkpoint.

        Raises:
            InputError: it isn't there or can't be read, or has fewer positions than a window has frames.
        """
        check_overlap(options)
        path = locate(options, download=True)
        assert path is not None
        weights = converted(read_weights(path), path)
        self._options, self._path = options, path
        self.checkpoint = examine(weights, path, options.heads)
        check_frames(self.checkpoint, options, None, path)
        built = _built(self.checkpoint, weights, path)
        # diffusers' own to() warns about layers that it doesn't have
        self.adapter = torch.nn.Module.to(built, context.device, getattr(torch, context.dtype))
        self.max_frames = options.window if options.windows else self.checkpoint.positions
        wish = options.norm_over_frames
        self.norm_over_frames = self.checkpoint.version_1 if wish == "auto" else wish == "yes"

    @contextmanager
    def attach(self, backbone: Backbone, /) -> Iterator[None]:
        """See `MotionModule.attach`.

        Raises:
            InputError: made for another base.
        """
        config = backbone.unet.config
        known = {"widths": tuple(config.block_out_channels), "layers_per_block": config.layers_per_block}
        check_widths(self.checkpoint, known, self._path)

        def frames() -> int:
            if backbone.frames > self.checkpoint.positions:
                most = self.checkpoint.positions
                raise InputError(f"{backbone.frames} frames in one pass, {self._path} has positions for {most}")
            return backbone.frames

        before = backbone.window
        with ExitStack() as hooks:
            hooks.enter_context(temporal_layers(backbone.unet, self.adapter, frames, self._options.strength))
            if self.norm_over_frames:
                hooks.enter_context(norms_over_frames(backbone.unet, frames))
            if self._options.windows:
                backbone.window = Window(self._options.window, self._options.overlap)
            try:
                yield
            finally:
                backbone.window = before


def _built(checkpoint: MotionCheckpoint, weights: dict[str, Any], path: Path) -> Any:
    adapter = MotionAdapter(
        block_out_channels=checkpoint.widths,
        motion_layers_per_block=checkpoint.layers_per_block,
        motion_transformer_layers_per_block=checkpoint.blocks_per_layer,
        motion_transformer_layers_per_mid_block=checkpoint.blocks_per_layer,
        motion_num_attention_heads=checkpoint.heads,
        motion_norm_num_groups=checkpoint.groups,
        motion_max_seq_length=checkpoint.positions,
        use_motion_mid_block=checkpoint.mid_block,
    )
    missing, left = adapter.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    lost = [*left, *(name for name in missing if not name.endswith("pos_embed.pe"))]
    if lost:
        raise InputError(
            f"{path}: not a whole AnimateDiff motion module: {lost[0]} (and {len(lost) - 1} more) don't fit"
        )
    return adapter.requires_grad_(False).eval()
