from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.nn.functional import interpolate

from vswap_embedders.sampling import (
    inside_frame,
    mean_embedding,
    sample_features,
    similarity_to_keyframe,
    wrapped_pixels,
)


@pytest.mark.parametrize(
    ("cells", "size"), [((4, 6), (96, 64)), ((7, 3), (24, 56)), ((3, 5), (37, 29)), ((1, 1), (8, 8))]
)
def test_every_pixel_reads_what_the_enlarged_map_holds(cells: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.randn(2, 5, *cells, generator=torch.Generator().manual_seed(0))
    width, height = size
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([across, down], -1).reshape(1, -1, 2).expand(2, -1, -1).float()
    enlarged = interpolate(maps, (height, width), mode="bilinear").flatten(2).mT
    torch.testing.assert_close(sample_features(maps, pixels, size), enlarged, atol=3e-6, rtol=0)


def test_each_map_is_read_at_its_own_points() -> None:
    maps = torch.arange(2.0)[:, None, None, None] * torch.ones(2, 3, 4, 4) + torch.arange(4.0)
    got = sample_features(maps, torch.tensor([[[1.5, 7.0]], [[9.5, 0.0]]]), (16, 16))
    torch.testing.assert_close(got, torch.tensor([[[0.0]], [[3.0]]]).expand(2, 1, 3))


def test_beyond_the_edge_the_outermost_cells_hold() -> None:
    maps = torch.randn(1, 3, 4, 4)
    far = sample_features(maps, torch.tensor([[[-99.0, -99.0], [99.0, 99.0]]]), (32, 32))[0]
    torch.testing.assert_close(far, torch.stack([maps[0, :, 0, 0], maps[0, :, 3, 3]]))


def test_a_point_on_any_pixel_is_inside() -> None:
    xy = torch.tensor([[-0.5, 0.0], [-0.6, 0.0], [31.4, 15.4], [31.5, 0.0], [0.0, 15.5]])
    assert inside_frame(xy, (32, 16)).tolist() == [True, False, True, False, False]


def test_the_reference_rounds_half_to_even_and_counts_negative_pixels_from_the_far_edge() -> None:
    xy = torch.tensor([[10.5, 11.5], [-3.2, 12.0], [31.6, 0.0], [31.4, 15.4]])
    pixels, inside = wrapped_pixels(xy, (32, 16))
    assert pixels[[0, 1, 3]].tolist() == [[10, 12], [29, 12], [31, 15]]
    assert inside.tolist() == [True, True, False, True]


def test_means_run_over_the_kept_frames_and_a_point_never_kept_has_its_keyframe() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [3.0, 1.0]], [[0.0, 1.0], [5.0, 1.0]], [[9.0, 9.0], [7.0, 1.0]]])
    keep = torch.tensor([[True, False], [True, False], [False, False]])
    means = mean_embedding(vectors, keep, torch.tensor([0, 2]))
    assert means.tolist() == [[0.5, 0.5], [7.0, 1.0]]


def test_similarity_is_to_each_points_own_keyframe() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [0.0, -1.0]]])
    assert similarity_to_keyframe(vectors, torch.tensor([0, 1])).tolist() == [[1, -1], [0, 1]]
