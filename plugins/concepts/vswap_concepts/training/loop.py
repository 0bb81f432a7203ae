"""The training itself: noise prediction on pictures of the subject, and of its class in between."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from vswap_concepts.training.checkpoint import read_checkpoint, write_checkpoint
from vswap_concepts.training.draws import Draws
from vswap_concepts.training.examples import Examples
from vswap_concepts.training.settings import TrainingSettings
from vswap_concepts.training.tuned import Tuned
from vswap_kernel.errors import VswapError

_LEAST_RATE = 0.02
_WARM_UP = 0.05


@dataclass(frozen=True, eq=False)
class Batch:
    """Latents float32 [B, 4, h, w], weights of their cells [B, 1, h, w], B captions, and which are of the class."""

    latents: Tensor
    weights: Tensor
    captions: tuple[str, ...]
    prior: tuple[bool, ...]


class ConceptTraining:
    """One training of a live model."""

    def __init__(
        self,
        model: Tuned,
        subject: Examples,
        prior: Examples | None = None,
        settings: TrainingSettings | None = None,
        described: str = "",
    ) -> None:
        """`described` names the backbone; a checkpoint made with another one is refused."""
        self.model, self.subject, self.prior = model, subject, prior
        self.settings, self._described = settings or TrainingSettings(), described
        self.draws, self.losses = Draws(self.settings.seed), list[float]()
        groups = model.groups()
        self.parameters = {f"{group}.{name}": p for group, named in groups.items() for name, p in named.items()}
        of = self.settings
        self._rates = {"words": of.words_rate, "text": of.text_rate, "unet": of.unet_rate}
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(named.values()), "lr": 0.0, "weight_decay": 0.0 if group == "words" else 0.01}
                for group, named in groups.items()
            ]
        )

    def run(
        self,
        checkpoint: Path | None = None,
        progress: Callable[[int, int, str], None] = lambda done, total, note: None,
    ) -> list[float]:
        """Train to the last step, from the checkpoint where there is one; returns the loss of every step.

        Raises:
            InputError: the checkpoint belongs to another training.
            VswapError: the checkpoint is damaged, or the loss or its gradients are no longer finite.
        """
        steps, fingerprint = self.settings.steps, self._fingerprint()
        if checkpoint is not None and checkpoint.exists():
            self.losses = read_checkpoint(checkpoint, fingerprint, self.parameters, self.optimiser)
        for step in range(len(self.losses), steps):
            self.losses.append(self.step(step))
            recent = self.losses[-20:]
            progress(step + 1, steps, f"loss {sum(recent) / len(recent):.4f}")
            due = (step + 1) % self.settings.checkpoint_every == 0 or step + 1 == steps
            if checkpoint is not None and due:
                write_checkpoint(checkpoint, fingerprint, self.parameters, self.optimiser, self.losses)
        return self.losses

    def step(self, step: int) -> float:
        """One optimiser step: its loss."""
        scale = self.settings.loss_scale
        for group, highest in zip(self.optimiser.param_groups, self._rates.values(), strict=True):
            group["lr"] = highest * self._share_of_rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(step)
        torch.autograd.backward(loss * scale)
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        if scale != 1:
            torch._foreach_div_(gradients, scale)
        value, total = float(loss.detach()), torch.stack([gradient.sum() for gradient in gradients]).sum()
        if not (math.isfinite(value) and bool(torch.isfinite(total))):
            raise VswapError(
                f"training: loss or gradients not finite at step {step + 1} (loss {value}); use --dtype bfloat16 or "
                "float32, or lower learning rates"
            )
        self.optimiser.step()
        return value

    def loss(self, step: int) -> Tensor:
        """The loss of a step with its graph: the mean over cells of the noise's squared error times their weight."""
        batch = self.batch(step)
        device, alphas = batch.latents.device, self.model.backbone.alphas_cumprod
        timesteps = self.draws.timesteps(step, len(batch.latents), len(alphas))
        share = alphas.cpu()[timesteps].view(-1, 1, 1, 1).to(device)
        noise = self.draws.noise(step, tuple(batch.latents.shape)).to(device)
        noisy = share.sqrt() * batch.latents + (1 - share).sqrt() * noise
        predicted = self.model.predict(noisy, timesteps.to(device), self.model.embed(batch.captions))
        return ((predicted - noise) ** 2 * batch.weights).mean()

    def batch(self, step: int) -> Batch:
        """The pictures of a step. Counted over all steps, every `prior_every`-th one is of the class."""
        of, size = self.settings, self.settings.batch
        flips, words = (self.draws.chances(purpose, step, size) for purpose in ("flips", "captions"))
        shown, captions, are_prior = [], [], []
        for place in range(size):
            number = step * size + place
            priors = (number + 1) // of.prior_every if self.prior is not None else 0
            is_prior = self.prior is not None and (number + 1) % of.prior_every == 0
            pictures = self.prior if is_prior and self.prior is not None else self.subject
            turn = priors - 1 if is_prior else number - priors
            index = self.draws.turn("prior" if is_prior else "subject", turn, len(pictures))
            choice = pictures.captions[index]
            shown.append(pictures.one(index, flips[place] < 0.5))
            captions.append(choice[int(words[place] * len(choice))])
            are_prior.append(is_prior)
        latents, weights = (torch.stack(part) for part in zip(*shown, strict=True))
        return Batch(latents, weights, tuple(captions), tuple(are_prior))

    def _share_of_rate(self, step: int) -> float:
        steps = self.settings.steps
        rising = min(1.0, (step + 1) / max(1.0, _WARM_UP * steps))
        falling = 0.5 * (1 + math.cos(math.pi * step / steps))
        return rising * (_LEAST_RATE + (1 - _LEAST_RATE) * falling)

    def _fingerprint(self) -> str:
        model = self.model.subject
        counted = {name: value for name, value in asdict(self.settings).items() if name != "checkpoint_every"}
        told = [counted, model.words, model.class_word, self._described, self.subject.digest]
        told.append("" if self.prior is None else self.prior.digest)
        state = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for name, parameter in self.parameters.items():
            state.update(f"{name}{tuple(parameter.shape)}".encode())
        return state.hexdigest()
