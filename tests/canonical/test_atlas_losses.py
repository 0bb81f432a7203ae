from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from vswap_canonical import losses


def test_rigidity_is_least_for_a_turn_and_counts_both_stretching_and_shrinking() -> None:
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    given = losses.rigidity(torch.stack([turn, turn * 2, turn / 2, turn * torch.tensor([1.0, 3.0])]), 0.0)
    least = math.sqrt(2)
    wanted = [2 * least, 4.25 * least, 4.25 * least, math.sqrt(1 + 81) + math.sqrt(1 + 1 / 81)]
    torch.testing.assert_close(given, torch.tensor(wanted))


def test_rigidity_of_any_jacobian_is_that_of_the_stabilised_metric() -> None:
    torch.manual_seed(0)
    jacobian = torch.randn(50, 2, 2, dtype=torch.float64)
    metric = jacobian.transpose(1, 2) @ jacobian
    inverse = torch.linalg.inv(metric + 1e-3 * torch.eye(2))
    wanted = torch.linalg.matrix_norm(metric) + torch.linalg.matrix_norm(inverse)
    torch.testing.assert_close(losses.rigidity(jacobian), wanted)


def test_rigidity_of_a_mapping_to_one_place_is_finite_and_so_is_its_gradient() -> None:
    jacobian = torch.zeros(1, 2, 2, requires_grad=True)
    losses.rigidity(jacobian).sum().backward()
    assert jacobian.grad is not None
    assert torch.isfinite(jacobian.grad).all()


def test_the_other_losses_by_hand() -> None:
    opacity, mask = torch.tensor([0.25, 0.25]), torch.tensor([1.0, 0.0])
    torch.testing.assert_close(losses.bootstrap(opacity, mask), torch.tensor([math.log(4), -math.log(0.75)]))
    colours = torch.tensor([[1.0, 0.5, 0.0]])
    torch.testing.assert_close(losses.sparsity(colours, torch.tensor([[0.5]])), torch.tensor([0.3125]))
    torch.testing.assert_close(losses.colour_error(colours, torch.zeros(1, 3)), torch.tensor([1.25]))
    torch.testing.assert_close(losses.distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)), torch.tensor([5.0]))
    torch.testing.assert_close(losses.opacity_change(opacity, mask), torch.tensor([0.75, 0.25]))
