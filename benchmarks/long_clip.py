"""A clip of four windows against a clip of one, on tiny random weights: memory, and seams between the windows.

    python benchmarks/long_clip.py

Needs ../shared: the frames are those of a real clip, played to and fro. Blend and composite are off, so that nothing of
the source hides a seam. A seam is a jump from one frame to the next where a window begins or ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "plugins"))
CLIP = Path(os.environ.get("VSWAP_SHARED", REPOSITORY.parent / "shared")) / "clips" / "blackswan" / "frames"
WINDOW, OVERLAP = 16, 8
POINTS = {"beak": [301.0, 88.0], "back": [190.0, 120.0]}


def write_clip_job(models: Path, folder: Path, frames: int, **swapper: Any) -> Path:
    """The tiny job on so many frames of the real clip."""
    import json

    from tiny_swap import write_job

    options = {"name": "point-diffusion", "steps": 6, "registration_steps": 4} | swapper
    motion = {"name": "animatediff", "weights": str(models / "mm.ckpt"), "window": WINDOW, "overlap": OVERLAP}
    video = {"path": "clip", "fps": 24, "size": [160, 160]}
    job = write_job(models, folder, 1, video=video, motion=motion, swapper=options, masks=None, metrics=[])
    originals = sorted(CLIP.iterdir())
    there_and_back = originals + originals[-2:0:-1]
    (folder / "clip").mkdir()
    for index in range(frames):
        (folder / "clip" / f"{index:05}.jpg").symlink_to(there_and_back[index % len(there_and_back)])
    (folder / "points.json").write_text(json.dumps({"size": [428, 240], "points": POINTS}))
    return job


def run(job: Path, folder: Path) -> tuple[float, float]:
    """Seconds, and peak memory of the process in MiB."""
    command = [sys.executable, "-m", "vswap_kernel.cli", "run", str(job), "--json"]
    command += ["--out", str(folder / "run"), "--store", str(folder / "store")]
    measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3); "
    measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    began = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", measure, *command], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(ended.stdout) / 1024


def jumps(folder: Path) -> Any:
    """Mean absolute difference between neighbouring frames of the result, float [frames - 1]."""
    from vswap_kernel.types import SwapResult

    frames = SwapResult.load((folder / "run" / "stages" / "swap").resolve()).video.frames.astype(np.float32)
    return np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))


def borders(frames: int) -> list[int]:
    """Numbers i of the steps from frame i to i + 1 where a window begins or ends."""
    from vswap_backbones.windows import starts
    from vswap_kernel.protocols import Window

    first = starts(frames, Window(WINDOW, OVERLAP))
    return sorted({start - 1 for start in first[1:]} | {start + WINDOW - 1 for start in first[:-1]})


def main() -> None:
    """Print memory, time and seams."""
    from tiny_swap import write_models

    with tempfile.TemporaryDirectory() as name:
        models = Path(name) / "models"
        models.mkdir()
        write_models(models)
        memory = {}
        for frames in (WINDOW, 4 * WINDOW):
            folder = Path(name) / str(frames)
            job = write_clip_job(models, folder, frames, latent_blend=False, composite=False)
            seconds, memory[frames] = run(job, folder)
            print(f"{frames} frames: {seconds:.0f} s, peak {memory[frames]:.0f} MiB", flush=True)
        print(f"memory: {memory[4 * WINDOW] / memory[WINDOW]:.2f}x")
        found, at = jumps(folder), borders(4 * WINDOW)
        elsewhere = np.median(np.delete(found, at))
        border, others = found[at] / elsewhere, np.delete(found, at) / elsewhere
        print(
            f"jump where a window begins or ends: mean {border.mean():.3f}x, largest {border.max():.3f}x of the median"
        )
        print(f"elsewhere: largest {others.max():.3f}x of the median")


if __name__ == "__main__":
    main()
