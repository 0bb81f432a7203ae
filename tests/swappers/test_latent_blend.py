from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vswap_kernel.errors import InputError
from vswap_kernel.protocols import CrossAttentionLayer
from vswap_swappers.point_diffusion.latent_blend import BlendOptions, LatentBlend, soft_mask
from vswap_swappers.point_diffusion.word_attention import layer_mean, layers_at_scales, reference_mask_layers

SD15 = [
    CrossAttentionLayer("", part, stride)
    for part, strides in (("down", (1, 1, 2, 2, 4, 4)), ("mid", (8,)), ("up", (4, 4, 4, 2, 2, 2, 1, 1, 1)))
    for stride in strides
]
STEPS = 10
LEVELS = [torch.full((2, 4, 8, 8), float(level)) for level in range(STEPS + 1)]


def attention(row: int) -> object:
    """Attention [2, 2, 2] to one row of cells."""
    maps = torch.zeros(2, 2, 2)
    maps[:, row] = 1
    return maps


def test_our_layers_are_the_same_at_every_resolution() -> None:
    assert layers_at_scales(SD15, (4,)) == [4, 5, 7, 8, 9]
    assert layers_at_scales(SD15, (2, 4)) == [2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    with pytest.raises(InputError, match=r"at \[16\]; this backbone has \[1, 2, 4, 8\]"):
        layers_at_scales(SD15, (16,))


def test_coarse_maps_count_as_much_as_fine_ones_at_the_same_places() -> None:
    fine, coarse = torch.zeros(1, 1, 1, 7, 5), torch.zeros(1, 1, 1, 4, 3)
    fine[..., 6, 4] = coarse[..., 3, 2] = 1
    mean = layer_mean([coarse, fine], 0)[0, 0]
    assert mean.shape == (7, 5)
    assert (int(mean.argmax()) // 5, int(mean.argmax()) % 5) == (6, 4)
    assert not mean[:4].any()


@pytest.mark.parametrize(
    ("size", "layers"),
    [((56, 96), [7, 8, 9]), ((64, 64), [7, 8, 9]), ((32, 48), [4, 5, 7, 8, 9])],
)
def test_the_references_layers_depend_on_the_resolution(size: tuple[int, int], layers: list[int]) -> None:
    assert reference_mask_layers(SD15, size) == layers


def test_a_soft_mask_is_relative_to_the_largest_value_of_its_frame() -> None:
    maps = torch.zeros(2, 8, 8)
    maps[0, 2, 2], maps[0, 6, 6], maps[1, 0, 0] = 4.0, 1.0, 0.5
    mask = soft_mask(maps, (16, 16))
    assert mask.shape == (2, 16, 16)
    assert mask.amax((1, 2)).tolist() == [1, 1]
    assert mask[0, 13, 13] == 0.25
    assert (mask[0, 2:8, 2:8] == 1).all()


def test_a_frame_without_attention_has_no_mask() -> None:
    assert not soft_mask(torch.zeros(1, 2, 2), (4, 4)).any()


def test_outside_both_masks_the_latents_are_the_inverted_ones_of_the_same_level() -> None:
    wide = torch.zeros(2, 8, 8)
    wide[:, :2, :2] = 1
    for slip, wanted in ((False, 7.0), (True, 8.0)):
        blend = LatentBlend(LEVELS, [wide] * STEPS, BlendOptions(one_level_too_high=slip))
        for step in range(2):
            blend(step, torch.zeros(2, 4, 8, 8), wide)
        latents = blend(2, torch.full((2, 4, 8, 8), -1.0), wide)
        assert (latents[..., :2, :2] == -1).all()
        assert (latents[..., 4:, 4:] == wanted).all()


def test_the_whole_frame_stays_where_the_masks_cover_it() -> None:
    blend = LatentBlend(LEVELS, [attention(0)] * STEPS, BlendOptions())
    assert (blend(0, torch.full((2, 4, 8, 8), -1.0), attention(1)) == -1).all()


def test_steps_are_blended_to_the_end_unless_asked_otherwise() -> None:
    assert [step for step in range(STEPS) if BlendOptions()(step, STEPS)] == list(range(STEPS))
    assert [step for step in range(STEPS) if BlendOptions(start=0.2, end=0.8)(step, STEPS)] == [2, 3, 4, 5, 6]


def test_a_mask_that_is_given_stands_in_for_the_sources_attention() -> None:
    given = torch.zeros(2, 8, 8, dtype=torch.bool)
    given[:, :, 0] = True
    source, target = [attention(0)] * STEPS, attention(1)
    blend = LatentBlend(LEVELS, source, BlendOptions(), given)
    old, inside = blend.masks(0, target)
    assert torch.equal(old, given)
    assert torch.equal(inside, given | LatentBlend(LEVELS, [target] * STEPS, BlendOptions()).masks(0, target)[0])


class Unread(list[object]):
    """Levels that count how often each is asked for."""

    def __init__(self, levels: list[object]) -> None:
        super().__init__(levels)
        self.asked: list[int] = []

    def __getitem__(self, level):
        self.asked.append(level)
        return super().__getitem__(level)


def test_levels_are_read_once_each() -> None:
    levels = Unread(LEVELS)
    blend = LatentBlend(levels, [attention(0)] * STEPS, BlendOptions())
    for step in range(STEPS):
        blend(step, torch.zeros(2, 4, 8, 8), attention(0))
    assert sorted(levels.asked) == [0, *range(STEPS)]  # and one for their size
