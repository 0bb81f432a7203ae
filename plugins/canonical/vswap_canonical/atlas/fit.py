"""Fitting a layered atlas: closed forms first, then all of it at once, until what was held out gets no better."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vswap_canonical.atlas.clip import Clip
from vswap_canonical.atlas.files import read_atlas, write_atlas
from vswap_canonical.atlas.model import Atlas
from vswap_canonical.atlas.painting import paint
from vswap_canonical.atlas.registration import register
from vswap_canonical.atlas.start import started
from vswap_canonical.atlas.training import Material, Weights, held_out, step_loss
from vswap_canonical.checkpoint import Course, read_checkpoint, write_checkpoint
from vswap_kernel.errors import StoreError

_RATES = {"picture": 5e-3, "control": 2e-2, "correction": 2e-2, "light": 2e-3}
_SLIGHT = {"picture": 2e-5}
"""Adam's epsilon, where it isn't the usual. Gradients below it stay small steps: texels at a layer's edge are hardly
seen, and would swing."""
_CHECK_EVERY = 50
_PATIENCE = 2
"""Checks without a gain after which the learning rate is halved."""
_GAIN = 0.02
"""dB that count as one."""
_LEAST_RATE = 1 / 16
_WARM_UP = 20
_WRITE_EVERY = 20.0
"""Seconds."""
_JUDGED = 10
"""Frames whose held-out pixels are looked at."""


@dataclass(frozen=True)
class Settings:
    """How an atlas is fitted: rounds of registration, most iterations, texels to a pixel of (subject, background)."""

    rounds: int
    iterations: int
    texels: tuple[float, float]
    seed: int
    device: str = "cpu"
    weights: Weights = field(default_factory=Weights)


class AtlasFit:
    """The fit of one clip. Killed, it goes on from its last checkpoint in `scratch`; the result is the same."""

    def __init__(self, clip: Clip, settings: Settings, scratch: Path, told: Callable[[float, str], None]) -> None:
        """told: is called with the share done in 0..1, and a note."""
        self._clip, self._settings, self._scratch, self._told = clip, settings, scratch, told
        digest = hashlib.sha256(repr(settings).encode())
        flow = clip.flow
        moving = (flow.ahead, flow.back, flow.ahead_holds, flow.back_holds)
        for array in (clip.frames, clip.subject, clip.tracks, clip.visible, *moving):
            digest.update(array.tobytes())
        self._fingerprint = digest.hexdigest()

    def run(self) -> tuple[Atlas, dict[str, Any]]:
        """The atlas, and figures: iterations, held-out PSNR in dB before and after."""
        atlas = self._closed_forms().to(self._settings.device)
        material = Material.of(self._clip, self._settings.device)
        start = held_out_psnr(atlas, material)
        course = self._learn(atlas, material)
        return atlas.cpu(), {
            "iterations": course.step,
            "held_out_start": start,
            "held_out": held_out_psnr(atlas, material),
        }

    def _closed_forms(self) -> Atlas:
        path = self._scratch / "atlas-start.safetensors"
        if path.exists():
            atlas, about = read_atlas(path)
            if about["fingerprint"] != self._fingerprint:
                raise StoreError(f"{path}: the start of another fit (other video, masks or options); delete it")
            return atlas
        atlas = started(self._clip)
        paint(atlas, self._clip.frames, self._settings.texels)
        count, rounds = len(self._clip.frames), self._settings.rounds
        for number in range(rounds):
            register(atlas, self._clip, partial(self._registering, number, count * rounds))
            paint(atlas, self._clip.frames, self._settings.texels)
        write_atlas(path, atlas, {"fingerprint": self._fingerprint})
        return atlas

    def _registering(self, number: int, total: int, frames: int) -> None:
        self._told(0.3 * (number * len(self._clip.frames) + frames) / total, "registering")

    def _learn(self, atlas: Atlas, material: Material) -> Course:
        named = dict(atlas.named_parameters())
        # one group each, in the model's order, which is that of the checkpoint
        groups = [
            {"params": [parameter], "lr": _rate(name), "eps": _epsilon(name)} for name, parameter in named.items()
        ]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.98))
        best = {name: value.clone() for name, value in atlas.state_dict().items() if name in named}
        course, path = Course(rate=1.0, held=[held_out_psnr(atlas, material)]), self._scratch / "atlas.safetensors"
        if path.exists():
            course = read_checkpoint(path, self._fingerprint, atlas, best, optimiser)
        written = time.monotonic()
        while course.step < self._settings.iterations and course.rate >= _LEAST_RATE:
            self._step(atlas, material, optimiser, course)
            if course.step % _CHECK_EVERY == 0:
                self._check(atlas, material, best, course)
                if time.monotonic() - written > _WRITE_EVERY:
                    write_checkpoint(path, self._fingerprint, atlas, best, optimiser, course)
                    written = time.monotonic()
        atlas.load_state_dict(best, strict=False)
        return course

    def _step(self, atlas: Atlas, material: Material, optimiser: torch.optim.Adam, course: Course) -> None:
        # each step's choices come from its number alone, so that a resumed fit makes the same ones
        generator = torch.Generator().manual_seed(self._settings.seed * 1_000_003 + course.step)
        warm = course.rate * min(1.0, (course.step + 1) / _WARM_UP)
        for group, (name, _) in zip(optimiser.param_groups, atlas.named_parameters(), strict=True):
            group["lr"] = _rate(name) * warm
        optimiser.zero_grad()
        step_loss(atlas, material, self._settings.weights, generator).backward()
        optimiser.step()
        course.step += 1
        note = f"PSNR {max(course.held):.1f} dB"
        self._told(0.3 + 0.7 * course.step / max(self._settings.iterations, 1), note)

    def _check(self, atlas: Atlas, material: Material, best: dict[str, torch.Tensor], course: Course) -> None:
        """Keep the best so far; halve the rate where it is no longer got better."""
        found, before = held_out_psnr(atlas, material), max(course.held)
        course.held.append(found)
        if found > before:
            best.update({name: value.clone() for name, value in atlas.state_dict().items() if name in best})
        course.stale = 0 if found > before + _GAIN else course.stale + 1
        if course.stale >= _PATIENCE:
            course.rate, course.stale = course.rate / 2, 0


def _rate(name: str) -> float:
    """The learning rate of a parameter by its name in the model."""
    return _RATES[name.rsplit(".", 1)[-1]]


def _epsilon(name: str) -> float:
    return _SLIGHT.get(name.rsplit(".", 1)[-1], 1e-8)


@torch.no_grad()
def held_out_psnr(atlas: Atlas, material: Material) -> float:
    """PSNR in dB over the pixels that aren't learned from, of a few frames."""
    frames = np.unique(np.linspace(0, len(material.frames) - 1, _JUDGED).round().astype(int))
    squares = []
    for frame in frames:
        one = torch.tensor([frame], device=material.frames.device)
        kept = held_out(one, atlas.every_row(one), atlas.size[1])[0]
        squares.append((atlas.render(int(frame))[0][kept] - material.frames[frame][kept] / 255).square())
    return float(-10 * torch.cat(squares).mean().clamp_min(1e-10).log10())
