"""Trains a deformation on correspondences between frames."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vswap_canonical.checkpoint import Course, read_checkpoint, write_checkpoint
from vswap_canonical.deformation.layers import REACH, Deformation, inverse
from vswap_canonical.deformation.pairs import Pairs

_POINTS, _FEWEST_POINTS = 6144, 8  # places in a step, of all pairs of frames alike, and at least of each
_STRETCHED = 1024  # places in a step where the Jacobian is held, in all frames alike
_TIE = 3.0  # px off from where on a correspondence pulls less and less
_HELD_EVERY = 6  # every so many pairs of frames are held out
_CHECK_EVERY = 25  # steps
_PATIENCE = 2  # checks without gain, then the learning rate is halved
_GAIN = 0.005  # a smaller share isn't a gain
_LAST_RATE = 1 / 16  # of the first learning rate: below it training stops
_LEAN, _BEND, _JITTER = 0.05, 0.2, 1.0  # weights of the regularising terms


@dataclass(frozen=True)
class FitSettings:
    """How to train; see `DeformationFieldOptions` for the first five.

    tracks: weight of the tracks' correspondences against the flow's. learning_rate: Adam's, in canonical units.
    """

    steps: int = 400
    rigidity: float = 1.0
    steadiness: float = 1.0
    seed: int = 0
    tracks: float = 0.1
    learning_rate: float = 0.01


class DeformationFit:
    """One training. Its parts: `flow` (less what is held out of it) and `tracked` correspondences."""

    def __init__(
        self, deformation: Deformation, flow: Pairs, tracked: Pairs, settings: FitSettings | None = None
    ) -> None:
        self.deformation, self.settings = deformation, settings or FitSettings()
        held = np.arange(len(flow)) // 2 % _HELD_EVERY == _HELD_EVERY - 1
        self.flow, self.tracked = flow.chosen(~held), tracked
        self.held = flow.chosen(held) if held.any() else (flow if len(flow) else tracked)
        self.optimiser = torch.optim.Adam(deformation.parameters(), lr=self.settings.learning_rate, betas=(0.9, 0.99))
        self.best = {name: value.clone() for name, value in deformation.state_dict().items()}
        self.course = Course(rate=self.settings.learning_rate)

    def run(
        self, checkpoint: Path | None = None, told: Callable[[int, int, str], None] = lambda done, total, note: None
    ) -> Course:
        """Train until held-out correspondences gain nothing or the steps are done, from the checkpoint where there is
        one, and leave the deformation as it was at its best. What is resumed ends with the same bytes as what wasn't
        interrupted."""
        steps, fingerprint = self.settings.steps, self._fingerprint() if checkpoint else ""
        if checkpoint and checkpoint.exists():
            self.course = read_checkpoint(checkpoint, fingerprint, self.deformation, self.best, self.optimiser)
        while self.course.step < steps and self.course.rate >= self.settings.learning_rate * _LAST_RATE:
            if self.course.step % _CHECK_EVERY == 0:
                if checkpoint:
                    state = (self.deformation, self.best, self.optimiser, self.course)
                    write_checkpoint(checkpoint, fingerprint, *state)
                self._check()
            self._step()
            told(self.course.step, steps, f"held out {self.course.held[-1]:.3f}")
        self._check()
        self.deformation.load_state_dict(self.best)
        return self.course

    def figures(self, name: str) -> dict[str, float]:
        """{name_px, name_median_px}: mean and median of how far held-out correspondences are missed."""
        with torch.no_grad():
            off, weight = self._off(self.held)
        missed = off[weight > 0]
        values = (missed.mean(), missed.median()) if len(missed) else (torch.zeros(()), torch.zeros(()))
        return {f"{name}_px": round(float(values[0]), 4), f"{name}_median_px": round(float(values[1]), 4)}

    def _check(self) -> None:
        """Loss on what is held out; the best is kept, and the learning rate halved where it doesn't get better."""
        course = self.course
        with torch.no_grad():
            off, weight = self._off(self.held)
            loss = float((_robust(off) * weight).sum() / weight.sum().clamp(min=1e-9))
        if loss <= min(course.held, default=np.inf):
            self.best = {name: value.clone() for name, value in self.deformation.state_dict().items()}
        trained = course.held[1:]  # Adam's first steps may lose what the affine maps have, and win it back
        course.stale = 0 if loss < (1 - _GAIN) * min(trained, default=np.inf) else course.stale + 1
        course.held.append(loss)
        if course.stale >= _PATIENCE:
            course.rate, course.stale = course.rate / 2, 0

    def _step(self) -> None:
        self.course.step += 1
        self.optimiser.param_groups[0]["lr"] = self.course.rate
        self.optimiser.zero_grad(set_to_none=True)
        self.loss(self.course.step).backward()
        self.optimiser.step()

    def loss(self, step: int) -> Tensor:
        """The loss of one step, with its graph. All random choices are of the seed and the step."""
        random = np.random.default_rng([self.settings.seed, 1, step])
        total = self._stretch_loss(random) + self._jitter_loss()
        for pairs, share in ((self.flow, 1.0), (self.tracked, self.settings.tracks)):
            if len(pairs):
                points = random.permutation(pairs.weight.shape[1])[: max(_FEWEST_POINTS, _POINTS // len(pairs))]
                off, weight = self._off(pairs, points)
                total = total + share * (_robust(off) * weight).sum() / weight.sum().clamp(min=1e-9)
        return total

    def _off(self, pairs: Pairs, points: slice | NDArray[np.intp] = slice(None)) -> tuple[Tensor, Tensor]:
        """(pixels [B, M] by which carried places miss, weight [B, M])."""
        source, target = torch.from_numpy(pairs.source), torch.from_numpy(pairs.target)
        start, end, weight = (torch.from_numpy(x[:, points]) for x in (pairs.start, pairs.end, pairs.weight))
        return (self.deformation.carry(start, source, target) - end).square().sum(-1).add(1e-6).sqrt(), weight

    def _stretch_loss(self, random: np.random.Generator) -> Tensor:
        """As rigid as possible: the Jacobian from the canonical frame to others near a similarity, and the layers' own
        near 1, on the subject and half its size around it."""
        count = len(self.deformation.maps)
        frames = np.arange(count)
        places = random.uniform(-REACH, REACH, (count, max(8, _STRETCHED // count), 2)).astype(np.float32)
        layers = self.deformation.stretch(torch.from_numpy(places), torch.from_numpy(frames))
        maps = self.deformation.maps[torch.from_numpy(frames), :, :2].unsqueeze(1)
        unlike, unturned = dissimilarity(inverse(maps) @ layers), distance_to_rotations(layers)
        return self.settings.rigidity * (_LEAN * unlike.mean() + _BEND * unturned.mean())

    def _jitter_loss(self) -> Tensor:
        """Second differences over time of what is learned."""
        second = self.deformation.tables.diff(n=2, dim=1)
        return self.settings.steadiness * _JITTER * second.square().sum() / self.deformation.tables.numel()

    def _fingerprint(self) -> str:
        state = hashlib.sha256(json.dumps(asdict(self.settings), sort_keys=True).encode())
        for pairs in (self.flow, self.held, self.tracked):
            for array in vars(pairs).values():
                state.update(str(array.shape).encode() + np.ascontiguousarray(array).data)
        for name, tensor in self.best.items():
            state.update(f"{name}{tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
        return state.hexdigest()


def dissimilarity(linear: Tensor) -> Tensor:
    """How far maps [..., 2, 2] are from similarities, 0..1: the squared modulus of the Beltrami coefficient, of the
    mirrored map where it mirrors."""
    (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
    same, other = (a + d).square() + (c - b).square(), (a - d).square() + (b + c).square()
    return torch.minimum(same, other) / torch.maximum(same, other).clamp(min=1e-12)


def distance_to_rotations(linear: Tensor) -> Tensor:
    """Squared Frobenius distance of maps [..., 2, 2] to the nearest rotation (the as-rigid-as-possible energy: Sorkine
    & Alexa, "As-Rigid-As-Possible Surface Modeling", SGP 2007), in closed form for the plane."""
    (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
    turn = ((a + d).square() + (c - b).square()).add(1e-12).sqrt() / 2
    return 2 * (turn - 1).square() + ((a - d).square() + (b + c).square()) / 2


def _robust(off: Tensor) -> Tensor:
    """Pixels near 0, growing ever more slowly beyond `_TIE` (a Cauchy loss of the root)."""
    return _TIE * torch.log1p(off / _TIE)
