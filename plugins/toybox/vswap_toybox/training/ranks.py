"""Several processes that train one model, each with one thread: twice what one process of two threads reaches.

Started by torchrun (`python -m torch.distributed.run --standalone --nproc-per-node 2 -m vswap_toybox.train ...`); a
plain start is a single rank.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Attributes:
    rank: of this process, 0..count-1; 0 logs and saves.
    count: how many there are.
    device: "cpu", or the rank's GPU.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @classmethod
    def join(cls) -> Ranks:
        """The ranks that the environment tells of."""
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        gpu = torch.cuda.is_available()
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if gpu else "cpu"
        if not gpu:
            torch.set_num_threads(1)
        if count > 1 and not dist.is_initialized():
            # Any rank may wait long: for a latent pool, or for samples to be drawn on a busy machine.
            dist.init_process_group("gloo", timeout=timedelta(hours=2))
        return cls(rank, count, device)

    @property
    def first(self) -> bool:
        """Whether this is the one that logs and saves."""
        return self.rank == 0

    def average(self, parameters: Sequence[Tensor], clock: float) -> float:
        """Replace gradients by their mean over the ranks; returns rank 0's `clock`, so that all agree on the time."""
        if self.count == 1:
            return clock
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        time = torch.tensor([clock if self.first else 0.0], device=gradients[0].device)
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), time])
        dist.all_reduce(flat)
        flat[:-1] /= self.count
        *parts, time = flat.split([*(p.numel() for p in parameters), 1])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return float(time)

    def wait(self) -> None:
        """Until all have come this far."""
        if self.count > 1:
            dist.barrier()
