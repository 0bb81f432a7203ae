"""train_io: steps of registration, the adapter, the masks and AdamW written out.

Independent of our code: all but the VAE and the text encoder, which are the libraries'. Gradients are autograd's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .naive_parts import adamw, adapter_states, patch_mask
from .session import SCALE, Session, clips_first

RATE, DECAY = 5e-4, 0.01


def record_training(session: Session) -> None:
    """Writes train_io."""
    config, random, frames = session.config, session.random(40), session.config["F"]
    steps, noises, points = session.variant.train_steps, session.variant.train_noises, len(config["points"])
    tensors = {
        "vae_noise": random.normal(frames, 4, *session.cells),
        "noise": random.normal(noises, 4, frames, *session.cells),
        "drop_draws": random.uniform(steps, points),
    }
    tensors["drop_draws"][:, 0] = 0.5 + tensors["drop_draws"][:, 0] / 2
    lowest = config["min_timestep"]
    notes: dict[str, Any] = {"steps": steps, "lr": RATE, "weight_decay": DECAY, "noise_of_step": f"noise[i % {noises}]"}
    notes |= {"drop_rate": config["drop_rate"], "min_timestep": lowest, "u_timestep": random.uniform(steps).tolist()}
    for kind in ("global", "local"):
        made, notes[kind] = trained(session, tensors, notes, kind)
        tensors |= made
    session.write("train_io", tensors, notes)


def trained(session: Session, given: dict[str, Tensor], notes: Any, kind: str) -> tuple[dict[str, Tensor], Any]:
    weights, made = dict(session.adapter), dict[str, Tensor]()
    moments: dict[str, tuple[Tensor, Tensor]] = {}
    told: dict[str, Any] = {"losses": [], "timesteps": [], "kept": []}
    for step in range(notes["steps"]):
        weights = {name: value.detach().requires_grad_(True) for name, value in weights.items()}
        timestep = int((notes["min_timestep"] + (1 - notes["min_timestep"]) * notes["u_timestep"][step]) * 1000)
        kept = [p for p, draw in enumerate(given["drop_draws"][step]) if draw > notes["drop_rate"]]
        loss, noisy, predicted = _loss(session, weights, given, step, timestep, kept, kind)
        names = list(weights)
        gradients = dict(zip(names, torch.autograd.grad(loss, [weights[name] for name in names]), strict=True))
        if step == 0:
            made |= {f"{kind}.grad1.{name}": value for name, value in gradients.items()}
            made["noisy_latents_step1"] = clips_first(noisy)
            made[f"{kind}.model_pred_step1"] = clips_first(predicted.detach())
        with torch.no_grad():
            weights = adamw(weights, gradients, moments, step + 1, RATE, DECAY)
        told["losses"].append(float(loss.detach()))
        told["timesteps"].append(timestep)
        told["kept"].append(kept)
    return made | {f"{kind}.after{notes['steps']}.{name}": value for name, value in weights.items()}, told


def _loss(
    session: Session,
    weights: dict[str, Tensor],
    given: dict[str, Tensor],
    step: int,
    timestep: int,
    kept: list[int],
    kind: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, noisy latents, prediction) of one step."""
    mean, deviation = session.posterior(session.frames())
    latents = (mean + deviation * given["vae_noise"]) * SCALE
    noise = given["noise"][step % len(given["noise"])].transpose(0, 1)
    alpha = session.alphas[timestep]
    noisy = alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise
    tracks, embedding = session.tap["pred_tracks"], session.tap["point_embedding"]
    states = adapter_states(weights, embedding, tracks, kept, session.size)
    predicted = session.net()(noisy, timestep, session.embed(session.config["prompt"]), len(latents), states)
    error = (predicted - noise) ** 2
    if kind == "global":
        return error.mean(), noisy, predicted
    mask = patch_mask(tracks, kept, *session.cells)
    return (error * mask).sum() / mask.sum(), noisy, predicted
