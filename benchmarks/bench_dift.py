"""One DIFT query on maps of the real size, against reading it from enlarged maps: `python benchmarks/bench_dift.py`.

A query reads the feature at a point of one frame and at a point of another, and their cosine: maps [1, 1280, 28, 48],
frames of 448x768. Each way runs in a process of its own, with its code warmed up on small maps first. Prints seconds
(median of the rounds), the peak of resident memory above what was there before, in MiB, and the ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity, interpolate

from vswap_embedders.sampling import sample_features

FRAME, CELLS, CHANNELS = (768, 448), (28, 48), 1280
POINTS = ((301.0, 88.0), (512.0, 407.0))


def sampled(maps, points, size):
    source, target = (sample_features(m, torch.tensor([[p]]), size)[0, 0] for m, p in zip(maps, points, strict=True))
    return target, cosine_similarity(source, target, dim=0)


def enlarged(maps, points, size):
    source, target = (interpolate(m, (size[1], size[0]), mode="bilinear") for m in maps)
    (x0, y0), (x1, y1) = ((int(x), int(y)) for x, y in points)
    read = target[0, :, y1, x1]
    return read, cosine_similarity(source[0, :, y0, x0], read, dim=0)


WAYS = {"sampled": (sampled, 200), "enlarged": (enlarged, 3)}


def resident(field):
    """VmRSS or VmHWM of this process, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))


def measure(name):
    """Seconds (median) and MiB of one way; and the vector that it read, to compare."""
    query, rounds = WAYS[name]
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 1, CHANNELS, *CELLS, generator=generator)
    small = [m[:, :8] for m in maps]
    for _ in range(3):
        query(small, ((3.0, 3.0), (5.0, 5.0)), (16, 16))
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = resident("VmRSS")
    query(maps, POINTS, FRAME)
    peak = (resident("VmHWM") - before) / 1024
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        vector, cosine = query(maps, POINTS, FRAME)
        took.append(time.perf_counter() - start)
    print(statistics.median(took), peak, float(vector.sum()), float(cosine))


def main():
    found = {}
    for name in WAYS:
        ran = subprocess.run([sys.executable, __file__, name], check=True, capture_output=True, text=True)
        found[name] = [float(number) for number in ran.stdout.split()]
        seconds, peak, *_ = found[name]
        print(f"{name:<9} {seconds:.6f} s, {peak:.2f} MiB")
    ours, theirs = found["sampled"], found["enlarged"]
    assert abs(ours[2] - theirs[2]) < 1e-3, "the two ways read different vectors"
    assert abs(ours[3] - theirs[3]) < 1e-5, "the two ways read different vectors"
    memory = f"{theirs[1] / ours[1]:.0f}" if ours[1] else "more than the page size can tell"
    print(f"time 1/{theirs[0] / ours[0]:.0f}, memory 1/{memory}")


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
