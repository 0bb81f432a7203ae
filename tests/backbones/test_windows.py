"""Windows over a long clip."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from vswap_kernel.protocols import Window

torch = pytest.importorskip("torch")

from vswap_backbones.windows import in_windows, parts, starts


@pytest.mark.parametrize(
    ("frames", "length", "overlap"), [(64, 16, 8), (17, 16, 8), (128, 16, 4), (33, 10, 9), (7, 3, 0)]
)
def test_windows_cover_every_frame_with_weights_of_one(frames: int, length: int, overlap: int) -> None:
    first = starts(frames, Window(length, overlap))
    assert first[0] == 0
    assert first[-1] == frames - length
    assert all(0 < b - a <= length - overlap for a, b in pairwise(first))
    total = torch.zeros(frames)
    for part in parts(frames, Window(length, overlap)):
        assert part.stop - part.start == length
        assert bool((part.weights > 0).all())
        total[part.start : part.stop] += part.weights
    assert torch.allclose(total, torch.ones(frames))


def test_blending_what_does_not_depend_on_the_window_changes_nothing() -> None:
    clips = torch.randn(2 * 20, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(in_windows(lambda part: part.of(clips, 20), 20, Window(8, 3)), clips, atol=1e-6)


def test_a_step_between_windows_becomes_a_ramp() -> None:
    def run(part: Any) -> Any:
        return torch.full((part.stop - part.start, 1), float(part.start > 0))

    blended = in_windows(run, 12, Window(8, 4)).squeeze()
    assert torch.allclose(blended[:4], torch.zeros(4))
    assert torch.allclose(blended[8:], torch.ones(4))
    assert torch.allclose(blended[4:8], torch.tensor([0.2, 0.4, 0.6, 0.8]))


def test_gradients_pass_through_windows() -> None:
    clip = torch.randn(10, 2, requires_grad=True)
    in_windows(lambda part: part.of(clip, 10), 10, Window(4, 2)).sum().backward()
    assert torch.allclose(clip.grad, torch.ones(10, 2))
