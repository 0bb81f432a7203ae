"""Registration: trains the point adapter on the source clip, through the frozen U-Net.

Source: Gu et al., "VideoSwap" (CVPR 2024, arXiv 2312.02087), section 3.2: noise prediction on the source clip with its
own prompt, counted on patches around the points, at high noise levels only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from vswap_kernel.errors import InputError, VswapError
from vswap_swappers.point_diffusion.adapter import PointAdapter, undropped
from vswap_swappers.point_diffusion.checkpoint import Progress, read_checkpoint, write_checkpoint
from vswap_swappers.point_diffusion.draws import Draws, SeededDraws
from vswap_swappers.point_diffusion.patch_mask import PatchMask
from vswap_swappers.point_diffusion.splat import Splat


class Predict(Protocol):
    """The frozen U-Net with the source prompt."""

    def __call__(self, latents: Tensor, timestep: int, residuals: Sequence[Tensor], /) -> Tensor:
        """Predicted noise [F, 4, h, w] for noisy latents of that shape, with residuals [F, C_l, h_l, w_l] per level."""
        ...


@dataclass(frozen=True)
class RegistrationSettings:
    """How to register.

    Attributes:
        steps: optimiser steps; learning_rate and weight_decay are AdamW's.
        dropout: the probability with which each point is left out of a step.
        lowest_timestep: timesteps are drawn from (lowest_timestep, 1) x 1000.
        frames_per_step: a clip longer than this gives each step only so many frames, one after the other from a place
            drawn anew, so that memory does not grow with the clip; None: always all.
        loss: "local" counts the cells near the points that take part, "global" all.
        loss_scale: raise it (1024) where the U-Net computes in float16, whose gradients would vanish otherwise.
        checkpoint_every: steps between checkpoints.
        seed: of the default `Draws`.
    """

    steps: int = 100
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    dropout: float = 0.2
    lowest_timestep: float = 0.5
    frames_per_step: int | None = None
    loss: Literal["local", "global"] = "local"
    loss_scale: float = 1.0
    checkpoint_every: int = 20
    seed: int = 0


@dataclass(frozen=True, eq=False)
class RegistrationSource:
    """What is registered, on one device.

    latents float32 [F, 4, h, w], scaled: the source clip, or with `deviation` (same shape, scaled) the mean of the
    VAE's posterior, from which each step draws anew. embeddings float32 [P, D]. splats: one per level. patches: of the
    same points on the latents. alphas_cumprod float32 [timesteps]. model: names the backbone and its prompt; a
    checkpoint made with another one is refused.
    """

    latents: Tensor
    embeddings: Tensor
    splats: tuple[Splat, ...]
    patches: PatchMask
    alphas_cumprod: Tensor
    deviation: Tensor | None = None
    model: str = ""

    def part(self, start: int, stop: int) -> RegistrationSource:
        """Frames start to stop (exclusive) of it."""
        return replace(
            self,
            latents=self.latents[start:stop],
            splats=tuple(splat.part(start, stop) for splat in self.splats),
            patches=self.patches.part(start, stop),
            deviation=None if self.deviation is None else self.deviation[start:stop],
        )

    def seen(self) -> Tensor:
        """bool [P]: the points that are visible in any frame."""
        return torch.stack([splat.weights.ne(0).any(0) for splat in self.splats]).any(0)


class Registration:
    """One registration. The splats are built beforehand and only the adapter's layers are trained."""

    def __init__(
        self,
        adapter: PointAdapter,
        source: RegistrationSource,
        predict: Predict,
        settings: RegistrationSettings | None = None,
        draws: Draws | None = None,
    ) -> None:
        if not bool(source.seen().any()):
            raise InputError("registration: no point is visible in any frame; check the points and their tracks")
        self.adapter = adapter
        self.source = source
        self.predict = predict
        self.settings = settings or RegistrationSettings()
        self.draws = draws or SeededDraws(self.settings.seed)
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        self.optimiser = torch.optim.AdamW(adapter.parameters(), lr=rate, weight_decay=decay)
        self.losses: list[float | None] = []

    def run(
        self,
        checkpoints: Path | None = None,
        progress: Callable[[int, int, str], None] = lambda done, total, note: None,
    ) -> list[float | None]:
        """Train to the last step, from the checkpoint in `checkpoints` where there is one.

        Returns the loss of every step (None: no visible point took part). An interrupted run that is resumed ends with
        the same bytes as one that was not.

        Raises:
            InputError: the checkpoint belongs to another registration.
            VswapError: the loss or its gradients are no longer finite.
        """
        fingerprint = self._fingerprint() if checkpoints else ""
        if checkpoints and (found := read_checkpoint(checkpoints, fingerprint, self.adapter, self.optimiser)):
            self.losses = list(found.losses)
        for step in range(len(self.losses), self.settings.steps):
            loss = self.step(step)
            self.losses.append(loss)
            progress(step + 1, self.settings.steps, "no visible point" if loss is None else f"loss {loss:.4f}")
            if checkpoints and (step + 1) % self.settings.checkpoint_every == 0:
                done = Progress(step + 1, tuple(self.losses))
                write_checkpoint(checkpoints, fingerprint, self.adapter, self.optimiser, done)
        return self.losses

    def step(self, step: int) -> float | None:
        """One optimiser step: its loss, or None when no visible point takes part and nothing is learned."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(step)
        if loss is None:
            return None
        scale = self.settings.loss_scale
        torch.autograd.backward(loss * scale)
        gradients = [parameter.grad for parameter in self.adapter.parameters() if parameter.grad is not None]
        if scale != 1:
            torch._foreach_div_(gradients, scale)
        value = float(loss.detach())
        if not torch.isfinite(torch.stack([gradient.sum() for gradient in gradients]).sum() + loss.detach()):
            raise VswapError(
                f"registration: loss or gradients not finite at step {step + 1} (loss {value}); use bfloat16 or "
                "float32, a lower loss scale, or a lower learning rate"
            )
        self.optimiser.step()
        return value

    def loss(self, step: int) -> Tensor | None:
        """The loss of one step, with its graph; None when no visible point takes part."""
        source, settings = self._of_step(step), self.settings
        device, shape = source.latents.device, tuple(source.latents.shape)
        kept = undropped(self.draws.points(step, len(source.embeddings)), settings.dropout).to(device)
        if not bool((kept & source.seen()).any()):
            return None
        latents = source.latents
        if source.deviation is not None:
            latents = latents + source.deviation * self.draws.latent_noise(step, shape).to(device)
        noise = self.draws.noise(step, shape).to(device)
        lowest, timesteps = settings.lowest_timestep, len(source.alphas_cumprod)
        timestep = int((lowest + (1 - lowest) * self.draws.timestep(step)) * timesteps)
        alpha = source.alphas_cumprod[timestep]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        residuals = self.adapter(source.embeddings, source.splats, kept=kept)
        error = (self.predict(noisy, timestep, residuals).float() - noise) ** 2
        if settings.loss == "global":
            return error.mean()
        mask = source.patches.of(kept)
        return (error * mask).sum() / (mask.sum().clamp(min=1) * error.shape[1])

    def _of_step(self, step: int) -> RegistrationSource:
        frames, length = len(self.source.latents), self.settings.frames_per_step
        if length is None or frames <= length:
            return self.source
        start = int(self.draws.place(step) * (frames - length + 1))
        return self.source.part(start, start + length)

    def _fingerprint(self) -> str:
        source = self.source
        state = hashlib.sha256(json.dumps([asdict(self.settings), source.model], sort_keys=True).encode())
        tensors = [source.latents, source.embeddings, source.alphas_cumprod, source.patches.down, source.patches.across]
        tensors += [] if source.deviation is None else [source.deviation]
        tensors += [part for splat in source.splats for part in (splat.weights, splat.frame, splat.cell)]
        tensors += self.adapter.state_dict().values()
        for tensor in tensors:
            state.update(str(tuple(tensor.shape)).encode())
            state.update(tensor.detach().cpu().contiguous().numpy().data)
        return state.hexdigest()
