"""`layered-atlas` under `preset: reference`: the reference's training and its propagation.

It takes the reference's time: 42 hours for 8 frames of 448x768 on two cores. Only small clips have been fitted by it
here. Dense flow is DIS where the reference takes RAFT.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vswap_canonical.flow_pairs import flow_pairs
from vswap_canonical.reference.losses import ReferenceClip
from vswap_canonical.reference.networks import FULL_SIZE, NetworkSettings, ReferenceNetworks
from vswap_canonical.reference.propagation import reference_displacement
from vswap_canonical.reference.render import ReferenceGrid, render_frame
from vswap_canonical.reference.training import IdentityPretraining, ReferenceSchedule, ReferenceTraining
from vswap_kernel.api import Context
from vswap_kernel.errors import InputError, StoreError
from vswap_kernel.types import DisplacementField, Masks, PointEdit, PointTracks, Video

CHECKPOINT = "reference-training.safetensors"
WEIGHTS, ABOUT = "networks.safetensors", "reference.json"
_JUDGED_FRAMES = 8
_TOLD_EVERY = 10


class ReferenceAtlas:
    """A canonical by the reference's atlas. `networks` are its networks' shapes, by default of the paper's size."""

    def __init__(
        self,
        context: Context,
        schedule: ReferenceSchedule | None = None,
        *,
        networks: Mapping[str, NetworkSettings] = FULL_SIZE,
        whole_pixels: bool = True,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self._context, self._schedule = context, schedule or ReferenceSchedule()
        self._shapes, self._whole_pixels = networks, whole_pixels
        self._checkpoint_seconds = checkpoint_seconds

    def fit(self, video: Video, masks: Masks | None, tracks: PointTracks, out: Path, /) -> None:
        """Train the networks, and write them to `out`. An interrupted fit goes on where the context's scratch folder
        has its checkpoint, and ends with the same weights.

        Raises:
            InputError: no masks, empty ones, ones of another video, or fewer than two frames.
        """
        checked = _checked_masks(video, masks)
        flow = flow_pairs(video.frames, told=lambda done, total: self._context.progress(done, total, "optical flow"))
        soft = np.asarray(checked.frames, np.float32) / np.float32(255)
        clip = ReferenceClip.of(video.frames, soft, flow, self._context.device)
        networks = self._initial()
        fingerprint = self._fingerprint(video, checked)
        self._train(networks, clip, fingerprint)
        reached = mean_psnr(networks, clip)
        write_fitted(out, networks, clip.grid, {"psnr": reached, "schedule": asdict(self._schedule)})

    def propagate(self, fitted: Path, tracks: PointTracks, edit: PointEdit, /) -> DisplacementField:
        """See `reference_displacement`.

        Raises:
            InputError: `edit` moves a point that isn't tracked, its frame is beyond the end, or the tracks are of
                another video.
            StoreError: the folder is damaged.
        """
        networks, grid = read_fitted(fitted)
        if (grid.size, grid.frames) != (tracks.size, len(tracks)):
            raise InputError(
                f"{fitted}: fitted to {grid.frames} frames of {grid.size[0]}x{grid.size[1]}, and the tracks are of "
                f"{len(tracks)} of {tracks.size[0]}x{tracks.size[1]}; fit the atlas to their video"
            )
        return reference_displacement(networks, tracks, edit, whole_pixels=self._whole_pixels)

    def _initial(self) -> ReferenceNetworks:
        """Networks with the seed's weights; the caller's random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._context.seed)
            return ReferenceNetworks(self._shapes).to(self._context.device)

    def _train(self, networks: ReferenceNetworks, clip: ReferenceClip, fingerprint: str) -> None:
        schedule, path = self._schedule, self._context.scratch / CHECKPOINT
        training = ReferenceTraining(networks, clip)
        if path.exists():
            done = training.resume(path, fingerprint)
        else:
            done = 0
            self._pretrain(networks, clip)
        written = time.monotonic()
        for iteration in range(done, schedule.iterations):
            found = training.step(
                self._samples(clip, "training", iteration),
                bootstrapping=iteration < schedule.bootstrapping,
                global_rigidity=iteration < schedule.global_rigidity,
            )
            if not math.isfinite(found["total"]):
                raise InputError(f"iteration {iteration}: the loss isn't finite; try another seed")
            if time.monotonic() - written >= self._checkpoint_seconds:
                training.write(path, fingerprint, iteration + 1)
                written = time.monotonic()
            if iteration % _TOLD_EVERY == 0 or iteration + 1 == schedule.iterations:
                note = f"PSNR {psnr(found['colour'] / 3):.1f} dB, loss {found['total']:.0f}"
                self._context.progress(iteration + 1, schedule.iterations, note)

    def _pretrain(self, networks: ReferenceNetworks, clip: ReferenceClip) -> None:
        pretraining, steps = IdentityPretraining(networks, clip), self._schedule.pretraining
        for iteration in range(steps):
            apart = pretraining.step(self._samples(clip, "pretraining", iteration))
            if iteration % _TOLD_EVERY == 0:
                self._context.progress(iteration + 1, steps, f"mappings to the identity, {apart:.3f} off")

    def _samples(self, clip: ReferenceClip, purpose: str, iteration: int) -> Tensor:
        """int64 [3, N]: pixels x, y and their frames; they depend on the seed and the iteration alone."""
        digest = hashlib.sha256(f"{self._context.seed} {purpose} {iteration}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        frames, height, width = clip.masks.shape
        drawn = torch.randint(frames * height * width, (self._schedule.batch,), generator=generator)
        place = torch.stack([drawn % width, drawn // width % height, drawn // (width * height)])
        return place.to(self._context.device)

    def _fingerprint(self, video: Video, masks: Masks) -> str:
        shapes = {name: asdict(shape) for name, shape in self._shapes.items()}
        parts = [video.digest(), masks.digest(), asdict(self._schedule), shapes, self._context.seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def psnr(squared_error: float) -> float:
    """Decibels of a mean squared error of colours in 0..1, at most 100."""
    return min(100.0, -10 * math.log10(max(squared_error, 1e-10)))


def mean_psnr(networks: ReferenceNetworks, clip: ReferenceClip) -> float:
    """PSNR in decibels of up to eight evenly spaced rendered frames, of their squared errors together."""
    count = len(clip.frames)
    errors = []
    for frame in np.linspace(0, count - 1, min(count, _JUDGED_FRAMES)).round().astype(int).tolist():
        seen = clip.frames[frame].flatten(0, 1).float() / 255
        errors.append((render_frame(networks, clip.grid, frame).colour - seen).square().mean().item())
    return psnr(float(np.mean(errors)))


def write_fitted(
    out: Path, networks: ReferenceNetworks, grid: ReferenceGrid, about: Mapping[str, object] | None = None
) -> None:
    """Write `networks.safetensors` and `reference.json` (shapes, size, frames, and `about`) into the folder `out`."""
    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in networks.state_dict().items()}
    save_file(state, out / WEIGHTS)
    shapes = {name: asdict(shape) for name, shape in networks.settings.items()}
    told = {"size": grid.size, "frames": grid.frames, "networks": shapes, **(about or {})}
    (out / ABOUT).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


def read_fitted(fitted: Path) -> tuple[ReferenceNetworks, ReferenceGrid]:
    """The networks, on the CPU, and the grid of a folder that `write_fitted` wrote.

    Raises:
        StoreError: the folder is damaged.
    """
    try:
        told = json.loads((fitted / ABOUT).read_text())
        shapes = {
            name: NetworkSettings(**{**shape, "skips": tuple(shape["skips"])})
            for name, shape in told["networks"].items()
        }
        networks = ReferenceNetworks(shapes)
        networks.load_state_dict(load_file(fitted / WEIGHTS))
        width, height = told["size"]
        return networks, ReferenceGrid((int(width), int(height)), int(told["frames"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StoreError(f"{fitted}: not a fitted atlas of the reference ({reason}); fit it again") from None


def _checked_masks(video: Video, masks: Masks | None) -> Masks:
    if masks is None:
        raise InputError("masks: an atlas of the reference's kind needs them; name a component under masks")
    if masks.frames.shape != video.frames.shape[:3]:
        raise InputError(f"masks: {list(masks.frames.shape)} for a video of {list(video.frames.shape[:3])}")
    if len(video) < 2:
        raise InputError("video: one frame has no motion to learn; use canonical: {name: keyframe}")
    if not any((chunk > 127).any() for _, chunk in masks.chunks()):
        raise InputError("masks: empty in all frames, so there is no foreground; check the component under masks")
    return masks
