"""How much of a swap's time is spent inside the U-Net: `python benchmarks/share_of_unet.py`.

Tiny random weights, 16 frames of 256x256, 20 steps, all options on: points, concept, negative prompt, blend by
attention, attention injection in half of the steps, composite. Also prints where the rest goes, by function. Processor
time of one thread, so that the share holds on a machine that is busy with other things.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugins"))
FRAMES, SIDE, STEPS = 16, 256, 20


def made(folder: Path) -> tuple[Any, Any]:
    """The swapper and its job."""
    from tiny_swap import write_models
    from vswap_kernel.api import Context, SwapPrompt
    from vswap_kernel.protocols import SwapJob
    from vswap_kernel.registry import Registry
    from vswap_kernel.types import PointEmbeddings, PointTracks, Video

    registry, models = Registry.discover(), write_models(folder)
    random, names = np.random.default_rng(0), tuple("abcdefgh")
    video = Video(random.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8), 8.0)
    seen = np.ones((FRAMES, len(names)), bool)
    xy = (random.random((FRAMES, len(names), 2)) * SIDE).astype(np.float32)
    tracks = PointTracks(names, xy, seen, seen.astype(np.float32), video.size)
    vectors = random.standard_normal((len(names), 64)).astype(np.float32)
    embeddings = PointEmbeddings(names, vectors, seen.sum(0).astype(np.int32), seen, "")

    def component(family: str, name: str, **options: Any) -> Any:
        return registry.create(family, name, options, Context(folder))

    options = {"steps": STEPS, "registration_steps": 2, "negative_prompt": "ugly"}
    swapper = component("swapper", "point-diffusion", cross_replace=0.5, self_replace=0.5, **options)
    models = {
        "backbone": component("backbone", "sd15", weights=folder / "model"),
        "motion": component("motion", "animatediff", weights=folder / "mm.ckpt"),
        "concept": component("concept", "ed-lora", weights=folder / "toy.pth"),
    }
    prompt = SwapPrompt("a red car", "a <toy>", ("red car", "<toy>"))
    return swapper, SwapJob(video, tracks, tracks, None, embeddings, prompt, **models)


def main() -> None:
    """Time a swap with a clock around the U-Net, then profile another."""
    import torch

    torch.set_num_threads(1)
    inside = 0.0
    for profiled in (False, True):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "prepared").mkdir()
            swapper, job = made(folder)
            swapper.prepare(job, folder / "prepared")
            forward, spent = job.backbone.unet.forward, [0.0]

            def clocked(*args: Any, forward: Any = forward, spent: list[float] = spent, **more: Any) -> Any:
                began = time.process_time()
                result = forward(*args, **more)
                spent[0] += time.process_time() - began
                return result

            job.backbone.unet.forward = clocked
            profile, began = cProfile.Profile(), time.process_time()
            if profiled:
                profile.runcall(swapper.swap, job, folder / "prepared")
                pstats.Stats(profile).sort_stats("cumulative").print_stats("vswap_", 14)
            else:
                swapper.swap(job, folder / "prepared")
                took, inside = time.process_time() - began, spent[0]
                print(f"swap {took:.1f} s, of which {inside:.1f} s in the U-Net: {inside / took:.1%}", flush=True)


if __name__ == "__main__":
    main()
