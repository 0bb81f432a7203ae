"""`dift`: points described by the diffusion model that will draw them (method, step 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vswap_embedders.averaging import mean_over_kept
from vswap_embedders.features import DiffusionFeatures, FeatureNoise
from vswap_embedders.register import DiftOptions
from vswap_embedders.sampling import inside_frame, sample_features, wrapped_pixels
from vswap_kernel.api import Context
from vswap_kernel.types import ByteArray, PointEmbeddings, PointTracks, Prompt, Video


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
    """Implements `vswap_kernel.protocols.Embedder`, and the capability "feature-maps"."""

    def __init__(self, options: DiftOptions, context: Context) -> None:
        self._options, self._context = options, context

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        """Mean features over the frames where a point is kept: in the frame, seen, and like itself on its keyframe."""
        with torch.no_grad():
            return self.embed_with(self._features(video.size, subject), video, tracks)

    def embed_with(self, features: DiffusionFeatures, video: Video, tracks: PointTracks) -> PointEmbeddings:
        """`embed` with features of the caller's making."""
        options = self._options
        xy, visible = torch.from_numpy(tracks.xy.copy()), torch.from_numpy(tracks.visible.copy())
        if options.whole_pixels:
            xy, inside = wrapped_pixels(xy, video.size)
        else:
            inside = inside_frame(xy, video.size)
        vectors = point_features(features, video, xy, self._context.progress)
        seen = inside & visible if options.only_visible else inside
        space = f"dift:{features.backbone.family}:t{features.timestep}:up{features.level}"
        return mean_over_kept(vectors, tracks, seen, options.threshold, space)

    def feature_maps(self, frames: ByteArray, subject: str = "") -> Tensor:
        """What points are read from: maps float32 [n, C, h, w] of frames uint8 [n, H, W, 3], on the backbone's device.

        Cells cover the frame evenly: the pixel x lies at cell (x + 0.5) w / W - 0.5. Every frame has the same noise, so
        equal frames have equal maps, however they are split into calls. `subject` is the category word in the prompt.
        """
        at_once = max(1, self._options.batch // self._options.ensemble)
        with torch.no_grad():
            features = self._features((frames.shape[2], frames.shape[1]), subject)
            parts = [features.mean_maps(frames[start : start + at_once]) for start in range(0, len(frames), at_once)]
        return torch.cat(parts)

    def _features(self, size: tuple[int, int], subject: str) -> DiffusionFeatures:
        """For frames of `size` (width, height)."""
        options, backbone = self._options, self._context.components["backbone"]
        factor = 2 ** (len(backbone.vae.config.block_out_channels) - 1)
        noise = FeatureNoise.draw(options.ensemble, (size[1] // factor, size[0] // factor), self._context.seed)
        text = backbone.embed_text(Prompt(options.prompt.replace("{subject}", subject).strip()))
        return DiffusionFeatures(backbone, text, noise, options.level, options.t, options.batch)
