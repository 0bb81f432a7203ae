"""`dinov2`: points described by a self-supervised vision transformer.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision" (TMLR 2024); with register tokens: Darcet et
al., "Vision Transformers Need Registers" (ICLR 2024). Its patch tokens agree between the same parts of different
pictures and poses; they need no text, no noise and no backbone.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vswap_embedders.averaging import mean_over_kept
from vswap_embedders.dinov2_weights import KINDS
from vswap_embedders.register import Dinov2Options
from vswap_embedders.sampling import inside_frame, sample_features
from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, PointEmbeddings, PointTracks, Video
from vswap_pretrained.models import load_model
from vswap_pretrained.pictures import Normalisation

_FIELD = "embedder.weights"


class Dinov2:
    """Implements `vswap_kernel.protocols.Embedder`, and the capability "feature-maps".

    No published weights were at hand when this was written: it is tested on small random ones of the same classes and
    files, and the default threshold is not tuned.
    """

    def __init__(self, options: Dinov2Options, context: Context) -> None:
        self._options, self._context = options, context

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        """Mean features over the frames where a point is kept: in the frame, seen, and like itself on its keyframe.

        Raises:
            InputError: the weights can't be read, or have fewer blocks than `layer`.
            MissingExtraError: transformers is too old.
        """
        xy, visible = torch.from_numpy(tracks.xy.copy()), torch.from_numpy(tracks.visible.copy())
        vectors = []
        for start, frames in video.chunks(self._options.batch):
            maps = self.feature_maps(frames)
            vectors.append(sample_features(maps, xy[start : start + len(frames)], video.size).cpu())
            self._context.progress(start + len(frames), len(video), "DINOv2 features")
        seen = inside_frame(xy, video.size) & visible
        return mean_over_kept(torch.cat(vectors), tracks, seen, self._options.threshold, self._space())

    def feature_maps(self, frames: ByteArray, subject: str = "") -> Tensor:
        """What points are read from: maps float32 [n, C, h, w] of frames uint8 [n, H, W, 3], on the component's device.

        Cells cover the frame evenly: the pixel x lies at cell (x + 0.5) w / W - 0.5. `subject` doesn't matter here; it
        is there for the embedders that read a text.
        """
        batch = self._options.batch
        return torch.cat([self._maps(frames[start : start + batch]) for start in range(0, len(frames), batch)])

    @torch.no_grad()
    def _maps(self, frames: ByteArray) -> Tensor:
        """`feature_maps` of one batch."""
        network, config = self._network, self._network.config
        rows, columns = patch_grid((frames.shape[2], frames.shape[1]), self._options.patches)
        size = (rows * config.patch_size, columns * config.patch_size)
        pixels = self._normalisation.pixels(frames, size, "bicubic", self._context.device)
        tokens: Tensor = network(pixels.to(network.dtype)).last_hidden_state
        patches = tokens[:, 1 + getattr(config, "num_register_tokens", 0) :].float()
        return patches.transpose(1, 2).reshape(len(frames), -1, rows, columns)

    @cached_property
    def _network(self) -> Any:
        """The transformer up to the block asked for; what comes after it isn't computed."""
        options, context = self._options, self._context
        network = load_model(options.weights, options.hub_revision, KINDS, _FIELD)
        blocks = len(network.encoder.layer)
        if options.layer is not None and options.layer > blocks:
            raise InputError(f"embedder.layer: {options.weights} has {blocks} blocks, not {options.layer}; take fewer")
        del network.encoder.layer[options.layer or blocks :]
        return network.to(context.device, getattr(torch, context.dtype))

    @cached_property
    def _normalisation(self) -> Normalisation:
        return Normalisation.read(self._options.weights, self._options.hub_revision, _FIELD)

    def _space(self) -> str:
        config, options = self._network.config, self._options
        layer = len(self._network.encoder.layer)
        kind = f"{config.model_type}:{config.hidden_size}x{config.num_hidden_layers}"
        return f"{kind}:layer{layer}:patches{options.patches}"


def patch_grid(size: tuple[int, int], patches: int) -> tuple[int, int]:
    """(rows, columns) of patches on a frame of `size` (width, height) whose short side has that many: as nearly square
    as whole patches can be."""
    short = min(size)
    return round(size[1] / short * patches), round(size[0] / short * patches)
