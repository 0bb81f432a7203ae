"""`dift`: points described by the diffusion model that will draw them (method, step 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vswap_embedders.features import DiffusionFeatures, FeatureNoise
from vswap_embedders.register import DiftOptions
from vswap_embedders.sampling import (
    inside_frame,
    mean_embedding,
    sample_features,
    similarity_to_keyframe,
    wrapped_pixels,
)
from vswap_kernel.api import Context
from vswap_kernel.types import PointEmbeddings, PointTracks, Prompt, Video


def _keyframes(tracks: PointTracks) -> Tensor:
    """The keyframe of each point, int64 [N]; where nobody knows, the first frame in which it is most certain."""
    if tracks.keyframe is not None:
        return torch.from_numpy(tracks.keyframe.astype(np.int64))
    return torch.from_numpy(np.where(tracks.visible, tracks.confidence, -1).argmax(0))


def point_features(
    features: DiffusionFeatures, video: Video, xy: Tensor, progress: Callable[..., None] = lambda *_: None
) -> Tensor:
    """Features float32 [F, P, C] at xy [F, P, 2], averaged over the ensemble. Memory is that of one U-Net pass."""
    members = len(features.noise.posterior)
    vectors: Tensor | None = None
    for start, frames in video.chunks(max(1, features.batch // members)):
        for frame, maps in features.passes(frames):
            if vectors is None:
                vectors = torch.zeros(*xy.shape[:2], maps.shape[1])
            samples = sample_features(maps, xy[start + frame], video.size)
            vectors.index_add_(0, start + frame, samples.cpu(), alpha=1 / members)
        progress(start + len(frames), len(video), "diffusion features")
    assert vectors is not None, "a video has at least one frame"
    return vectors


class Dift:
    """Implements `vswap_kernel.protocols.Embedder`."""

    def __init__(self, options: DiftOptions, context: Context) -> None:
        self._options, self._context = options, context

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        """Mean features over the frames where a point is kept: in the frame, seen, and like itself on its keyframe."""
        options, backbone = self._options, self._context.components["backbone"]
        factor = 2 ** (len(backbone.vae.config.block_out_channels) - 1)
        latent_size = (video.size[1] // factor, video.size[0] // factor)
        noise = FeatureNoise.draw(options.ensemble, latent_size, self._context.seed)
        with torch.no_grad():
            text = backbone.embed_text(Prompt(options.prompt.replace("{subject}", subject).strip()))
            features = DiffusionFeatures(backbone, text, noise, options.level, options.t, options.batch)
            return self.embed_with(features, video, tracks)

    def embed_with(self, features: DiffusionFeatures, video: Video, tracks: PointTracks) -> PointEmbeddings:
        """`embed` with features of the caller's making."""
        options, keyframe = self._options, _keyframes(tracks)
        xy, visible = torch.from_numpy(tracks.xy.copy()), torch.from_numpy(tracks.visible.copy())
        if options.whole_pixels:
            xy, inside = wrapped_pixels(xy, video.size)
        else:
            inside = inside_frame(xy, video.size)
        vectors = point_features(features, video, xy, self._context.progress)
        keep = inside & visible if options.only_visible else inside
        if options.threshold is not None:
            keep = keep & (similarity_to_keyframe(vectors, keyframe) >= options.threshold)
        means = mean_embedding(vectors, keep, keyframe)
        space = f"dift:{features.backbone.family}:t{features.timestep}:up{features.level}"
        support = keep.sum(0).to(torch.int32).numpy()
        return PointEmbeddings(tracks.names, means.numpy(), support, keep.numpy(), space)
