from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vswap_swappers.point_diffusion.ddim import Ladder, inverted, sampled
from vswap_swappers.point_diffusion.guidance import StepRange, text_pair

ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
LADDER = Ladder.of(ALPHAS, 20)
CLEAN = torch.linspace(-1, 1, 2 * 4 * 3 * 3, dtype=torch.float64).reshape(2, 4, 3, 3)
NOISE = torch.cos(7 * CLEAN)


def test_the_ladder_is_that_of_stable_diffusion() -> None:
    assert LADDER.timesteps[:3] == (-49, 1, 51)
    assert LADDER.timesteps[-1] == 951
    assert LADDER.alphas[0] == ALPHAS[0]


def test_a_move_keeps_the_clean_part_and_the_noise() -> None:
    mixed = LADDER.alphas[5].sqrt() * CLEAN + (1 - LADDER.alphas[5]).sqrt() * NOISE
    moved = LADDER.move(mixed, NOISE, 5, 12)
    torch.testing.assert_close(moved, LADDER.alphas[12].sqrt() * CLEAN + (1 - LADDER.alphas[12]).sqrt() * NOISE)


def test_coming_down_undoes_the_climb_where_the_noise_is_the_same() -> None:
    climb = list(inverted(lambda latents, timestep, step: NOISE, CLEAN, LADDER))
    assert len(climb) == 20
    *_, (last, _) = sampled(lambda latents, timestep, step: NOISE, climb[-1], LADDER)
    torch.testing.assert_close(last, CLEAN)


@pytest.mark.parametrize(("negative", "first"), [(False, 0), (True, -49)])
def test_the_first_timestep_is_negative_only_where_asked_for(negative: bool, first: int) -> None:
    asked = []

    def predict(latents: object, timestep: int, step: int) -> object:
        asked.append(timestep)
        return NOISE

    list(inverted(predict, CLEAN, LADDER, negative_first_timestep=negative))
    assert asked == [first, *range(1, 902, 50)]


def test_a_resumed_inversion_gives_the_same_latents() -> None:
    def predict(latents: object, timestep: int, step: int) -> object:
        return torch.sin(latents + timestep)

    whole = list(inverted(predict, CLEAN, LADDER))
    rest = list(inverted(predict, whole[6], LADDER, first=7))
    assert all(torch.equal(one, other) for one, other in zip(whole[7:], rest, strict=True))


def test_latents_sent_back_are_what_the_next_step_starts_from() -> None:
    seen = []

    def predict(latents: object, timestep: int, step: int) -> object:
        seen.append(latents)
        return NOISE

    steps = sampled(predict, CLEAN, LADDER)
    next(steps)
    steps.send(NOISE)
    assert torch.equal(seen[1], NOISE)


def test_ranges_exclude_their_end_unless_asked_not_to() -> None:
    assert sum(StepRange(0, 0.5)(step, 10) for step in range(10)) == 5
    assert sum(StepRange(0, 0.5, inclusive=True)(step, 10) for step in range(10)) == 6
    assert [step for step in range(10) if StepRange(0.2, 0.4)(step, 10)] == [2, 3]


def test_a_text_for_every_layer_makes_a_pair_for_every_layer() -> None:
    one, many = torch.zeros(1, 77, 8), torch.ones(16, 77, 8)
    assert text_pair(one, one).shape == (2, 77, 8)
    pair = text_pair(one, many)
    assert pair.shape == (16, 2, 77, 8)
    assert (pair[:, 1] == 1).all()
