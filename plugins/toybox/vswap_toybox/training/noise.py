"""The diffusion loss of a model that predicts noise, and sampling from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noisy [N, 4, h, w], timesteps [N], text [N, 77, C]) -> noise, of the same shape as the first."""
STEPS = 25
"""Of a sample."""
_MOST, _LEAST = 5.0, 6.0


def signal_shares(schedule: Any, device: str) -> Tensor:
    """float32 [1000]: how much of the variance is signal at each timestep."""
    shares: Tensor = schedule.alphas_cumprod.float().to(device)
    return shares


def spread_timesteps(count: int, draw: Generator) -> Tensor:
    """int64 [count], one from each of `count` equal parts of the schedule: less noise in the loss than free draws."""
    return ((torch.arange(count) + torch.rand(count, generator=draw)) / count * 1000).long().clamp(max=999)


def noised(latents: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """Latents with this noise; `share` [N] of signal."""
    share = share.view(-1, *[1] * (latents.ndim - 1))
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def importance(share: Tensor) -> Tensor:
    """Weight [N] of the noise's squared error.

    Where there is much signal, min-SNR-5 (Hang et al., "Efficient Diffusion Training via Min-SNR Weighting", ICCV
    2023). Where there is little, up to 6 times: there the layout is decided, and the noise is easy to tell.
    """
    ratio = share / (1 - share)
    return (_MOST / ratio).clamp(max=1) * (1 + 1 / ratio).clamp(max=_LEAST)


@torch.no_grad()
def sample(
    predict: Predict,
    schedule: Any,
    text: Tensor,
    empty: Tensor,
    shape: tuple[int, ...],
    *,
    steps: int = STEPS,
    guidance: float = 3.0,
    seed: int = 0,
) -> Tensor:
    """Latents float32 `shape` [N, 4, h, w] by DDIM.

    Args:
        predict: the model.
        schedule: a DDIMScheduler; its steps are set.
        text, empty: [N, 77, C] and the empty caption's [1, 77, C].
        shape: of the latents.
        steps, guidance: number of steps, strength of the guidance without classifier.
        seed: of the noise.
    """
    latents = torch.randn(shape, generator=Generator().manual_seed(seed)).to(text.device)
    both = torch.cat([empty.expand(len(text), -1, -1), text])
    schedule.set_timesteps(steps)
    for moment in schedule.timesteps:
        moments = torch.full((2 * len(latents),), int(moment), device=latents.device)
        without, with_text = predict(torch.cat([latents] * 2), moments, both).float().chunk(2)
        latents = schedule.step(without + guidance * (with_text - without), moment, latents).prev_sample
    return latents
