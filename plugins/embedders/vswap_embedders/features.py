"""Diffusion features of frames (DIFT: Tang et al., "Emergent Correspondence from Image Diffusion", NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from vswap_kernel.protocols import Backbone
from vswap_kernel.types import ByteArray


@dataclass(frozen=True, eq=False)
class FeatureNoise:
    """What is random in a feature, the same for every frame, so that equal frames have equal features.

    posterior float32 [E, 4, h, w]: standard deviations from the mean of the encoded latents; diffusion float32
    [E, 4, h, w]: the noise added to them; E is the size of the ensemble.
    """

    posterior: Tensor
    diffusion: Tensor

    @classmethod
    def draw(cls, ensemble: int, latent_size: tuple[int, int], seed: int) -> FeatureNoise:
        """Gaussian noise for latents of `latent_size` (height, width); equal for equal seeds on every device."""
        generator = torch.Generator().manual_seed(seed)
        posterior, diffusion = torch.randn((2, ensemble, 4, *latent_size), generator=generator)
        return cls(posterior, diffusion)


class _Reached(Exception):  # noqa: N818 - not an error
    """Carries a layer's output out of a pass that need not go on."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def up_block_output(backbone: Backbone, level: int, latents: Tensor, timestep: int, text: Tensor) -> Tensor:
    """Output [B, C, h, w] of the U-Net's up-block `level`, with its upsampler; what comes after it isn't computed.

    latents [B, 4, h, w] noised to `timestep`, text [1, 77, C].
    """

    def stop(module: object, arguments: object, output: Tensor) -> None:
        raise _Reached(output)

    handle = backbone.unet.up_blocks[level].register_forward_hook(stop)
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled graph can't be left half-way
            backbone.predict(latents, timestep, text, frames=len(latents))
    except _Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise AssertionError(f"up-block {level} was not called")


@dataclass(frozen=True, eq=False)
class DiffusionFeatures:
    """Features of up-block `level` at `timestep`, under a text embedding [1, 77, C]; `batch` maps are made at once."""

    backbone: Backbone
    text: Tensor
    noise: FeatureNoise
    level: int = 1
    timestep: int = 261
    batch: int = 8

    def passes(self, frames: ByteArray) -> Iterator[tuple[Tensor, Tensor]]:
        """(index int64 [B] into frames uint8 [F, H, W, 3], maps float32 [B, C, h, w]) of one U-Net pass each.

        Every frame comes once for each member of the ensemble; its feature is the mean of the maps. A frame is encoded
        once.
        """
        mean, spread = self._posterior(frames)
        members = len(self.noise.posterior)
        signal = self.backbone.alphas_cumprod[self.timestep].to(mean)
        for indices in torch.split(torch.arange(len(frames) * members), self.batch):
            frame, member = indices // members, indices % members
            posterior = self.noise.posterior[member].to(mean)
            latents = (mean[frame] + spread[frame] * posterior) * self.backbone.latent_scale
            noised = signal**0.5 * latents + (1 - signal) ** 0.5 * self.noise.diffusion[member].to(mean)
            yield frame, up_block_output(self.backbone, self.level, noised, self.timestep, self.text).float()

    def mean_maps(self, frames: ByteArray) -> Tensor:
        """The features float32 [F, C, h, w] of frames uint8 [F, H, W, 3]: the mean of `passes` over the ensemble."""
        members = len(self.noise.posterior)
        total: Tensor | None = None
        for frame, maps in self.passes(frames):
            if total is None:
                total = maps.new_zeros(len(frames), *maps.shape[1:])
            total.index_add_(0, frame.to(maps.device), maps, alpha=1 / members)
        assert total is not None, "there is at least one frame"
        return total

    def _posterior(self, frames: ByteArray) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [F, 4, h, w] of the unscaled latents."""
        weight = next(self.backbone.vae.parameters())
        pixels = torch.from_numpy(np.array(frames)).to(weight.device).movedim(-1, 1).contiguous().float()
        posterior = self.backbone.vae.encode((pixels / 127.5 - 1).to(weight.dtype)).latent_dist
        mean, spread = (cast(Tensor, part).to(self.text.device).float() for part in (posterior.mean, posterior.std))
        return mean, spread
