"""The point adapter, forward and backward, against a loop of in-place adds: pytest benchmarks/bench_point_adapter.py

8 points in 16 frames of 448x768, at the widths of Stable Diffusion 1.5: one registration step without its U-Net. The
loop runs once (a minute or more), in the same run, so that the ratio holds on a machine that is busy with other things.
VideoSwap's own needs 68 to 81 s on two cores; ours may take a 200th.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vswap_swappers.point_diffusion.adapter import PointAdapter
from vswap_swappers.point_diffusion.splat import STRIDES, splats

FRAMES, POINTS, SIZE = 16, 8, (768, 448)
EMBEDDING, BLOCKS = 1280, (320, 640, 1280, 1280)
REFERENCE_SECONDS, ROUNDS = 68, 9


def plain_loop(adapter, embeddings, xy):
    """Every point of every frame, one in-place add per neighbour."""
    maps = []
    for level, stride in zip(adapter.levels, STRIDES, strict=True):
        features = level(embeddings)
        rows, columns = SIZE[1] // stride, SIZE[0] // stride
        level_maps = torch.zeros(FRAMES, features.shape[1], rows, columns)
        for frame in range(FRAMES):
            for point in range(POINTS):
                x, y = (float(value) / stride for value in xy[frame, point])
                left, top = int(x), int(y)
                for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
                    for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                        place = frame, slice(None), min(row, rows - 1), min(column, columns - 1)
                        level_maps[place] += down * across * features[point]
        maps.append(level_maps)
    return maps


def gradients(adapter, maps, incoming):
    adapter.zero_grad()
    torch.autograd.backward(maps, incoming)
    return [parameter.grad.clone() for parameter in adapter.parameters()]


def test_forward_and_backward(benchmark):
    torch.set_num_threads(2)
    random = np.random.default_rng(0)
    xy = (random.random((FRAMES, POINTS, 2)) * SIZE).astype(np.float32)
    embeddings = torch.randn(POINTS, EMBEDDING, generator=torch.Generator().manual_seed(0))
    adapter = PointAdapter(EMBEDDING, BLOCKS)
    adapter.initialise(torch.Generator().manual_seed(1))
    levels = splats(xy, np.ones((FRAMES, POINTS), bool), SIZE)
    incoming = [torch.randn_like(maps) for maps in adapter(embeddings, levels)]

    start = time.perf_counter()
    plain_maps = plain_loop(adapter, embeddings, xy)
    plain_gradients = gradients(adapter, plain_maps, incoming)
    plain = time.perf_counter() - start
    for got, wanted in zip(adapter(embeddings, levels), plain_maps, strict=True):
        torch.testing.assert_close(got, wanted)
    del plain_maps

    ours = benchmark.pedantic(
        lambda: gradients(adapter, adapter(embeddings, levels), incoming), rounds=ROUNDS, warmup_rounds=1
    )
    for got, wanted in zip(ours, plain_gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    median = benchmark.stats.stats.median
    benchmark.extra_info["plain_seconds"] = round(plain, 1)
    benchmark.extra_info["seconds"] = round(median, 4)
    benchmark.extra_info["times_faster"] = round(plain / median)
    benchmark.extra_info["times_faster_than_the_reference"] = round(REFERENCE_SECONDS / median)
