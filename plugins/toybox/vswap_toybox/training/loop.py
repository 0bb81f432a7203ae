"""The training loop that all stages share: AdamW, a moving mean of the weights, checkpoints, a log, sample sheets."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Generator, Tensor, nn

from vswap_kernel.encode import write_png
from vswap_kernel.types import ByteArray
from vswap_toybox.training import checkpoint
from vswap_toybox.training.ranks import Ranks


class Task(Protocol):
    """What a stage trains. Every random number comes from the generators that it is handed."""

    name: str
    model: nn.Module

    def loss(self, batch: int, draw: Generator, /) -> tuple[Tensor, int]:
        """The loss of a batch that `draw` chooses, and how many pictures it has."""

    def measure(self, mean: nn.Module, /) -> Mapping[str, float]:
        """Figures of the moving mean on held-out data."""

    def picture(self, mean: nn.Module, /) -> ByteArray:
        """A contact sheet uint8 [H, W, 3]."""


@dataclass(frozen=True)
class Schedule:
    """Attributes:
    minutes, steps: the stage's whole length, earlier sittings included; steps count where both are given.
    batch: of each rank.
    rate: learning rate after `warmup` steps; it falls along a cosine in the last half.
    decay: of the moving mean.
    seed: of every choice.
    measure_every, sample_every, save_every: seconds.
    """

    minutes: float | None = None
    steps: int | None = None
    batch: int = 16
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.998
    seed: int = 0
    measure_every: float = 120.0
    sample_every: float = 600.0
    save_every: float = 180.0

    def share(self, progress: checkpoint.Progress) -> float:
        """How much of it is done, 1 for all."""
        if self.steps is not None:
            return progress.step / max(self.steps, 1)
        return progress.seconds / (60 * (self.minutes or 0) or 1e-9)

    def rate_at(self, progress: checkpoint.Progress) -> float:
        """The learning rate of the next step."""
        fall = max(0.0, min(1.0, 2 * self.share(progress) - 1))
        warmth = min(1.0, (progress.step + 1) / self.warmup)
        return self.rate * warmth * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall)))


class Loop:
    """Trains a task in `folder`, from its checkpoint if there is one."""

    def __init__(self, task: Task, schedule: Schedule, folder: Path, ranks: Ranks) -> None:
        """Read the checkpoint."""
        self.task, self.schedule, self.folder, self.ranks = task, schedule, folder, ranks
        self.path = folder / "checkpoint.safetensors"
        nn.Module.to(task.model, ranks.device)  # diffusers' own warns about layers that a model does not have
        self.mean = copy.deepcopy(task.model).eval().requires_grad_(False)
        pairs = [
            pair for pair in zip(task.model.parameters(), self.mean.parameters(), strict=True) if pair[0].requires_grad
        ]
        self.parameters: list[Tensor] = [parameter for parameter, _ in pairs]
        self.means: list[Tensor] = [mean for _, mean in pairs]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=schedule.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.progress = checkpoint.restore(self.path, task.model, self.mean, self.optimiser)

    def run(self) -> nn.Module:
        """Train to the end of the schedule; the moving mean of the weights."""
        schedule, progress = self.schedule, self.progress
        clock = dict.fromkeys(("measure", "sample", "save"), progress.seconds)
        every = {"measure": schedule.measure_every, "sample": schedule.sample_every, "save": schedule.save_every}
        began = time.monotonic() - progress.seconds
        worked = schedule.share(progress) < 1
        with _bar(self.ranks.first) as bar:
            line = bar.add_task(self.task.name, total=1.0)
            while schedule.share(progress) < 1:
                self._step(time.monotonic() - began)
                bar.update(line, completed=schedule.share(progress), description=self._line())
                due = [name for name in clock if progress.seconds - clock[name] >= every[name]]
                for name in due if self.ranks.first else ():
                    self._do(name)
                clock |= dict.fromkeys(due, progress.seconds)
        if self.ranks.first and worked:
            for name in clock:
                self._do(name)
        self.ranks.wait()
        return self.mean

    def _step(self, clock: float) -> None:
        schedule, progress = self.schedule, self.progress
        draw = Generator().manual_seed((schedule.seed * 1_000_003 + progress.step) * 64 + self.ranks.rank)
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.rate_at(progress)
        loss, count = self.task.loss(schedule.batch, draw)
        self.optimiser.zero_grad()
        loss.backward()
        progress.seconds = self.ranks.average(self.parameters, clock)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        progress.step += 1
        progress.images += count * self.ranks.count
        kept = min(schedule.decay, (progress.step + 1) / (progress.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.means, self.parameters, 1 - kept)
        value = float(loss.detach())
        progress.loss = value if progress.step == 1 else 0.98 * progress.loss + 0.02 * value

    def _do(self, name: str) -> None:
        progress = self.progress
        if name == "save":
            checkpoint.save(self.path, self.task.model, self.mean, self.optimiser, progress)
        elif name == "sample":
            sheets = self.folder / "samples"
            sheets.mkdir(parents=True, exist_ok=True)
            write_png(sheets / f"{progress.step:07d}.png", self.task.picture(self.mean))
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            row = asdict(progress) | {"rate": self.schedule.rate_at(progress)} | dict(self.task.measure(self.mean))
            rounded = {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in row.items()}
            with (self.folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(rounded) + "\n")

    def _line(self) -> str:
        progress = self.progress
        speed = progress.images / max(progress.seconds, 1e-9)
        return f"{self.task.name} step {progress.step} loss {progress.loss:.4f} {speed:.0f} pictures/s"


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not shown, refresh_per_second=1)
