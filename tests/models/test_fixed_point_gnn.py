"""The graph neural network model of 2009: one state from any start, its gradient by the implicit function theorem."""

from __future__ import annotations

import pytest
import torch
from graphs import adjacency, numbers, random_graph
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import FixedPointGNN
from deepscope.models._fixed_point_gnn import _solve

EDGES = random_graph(7, 0.4, directed=True)


def built(contraction: float = 0.9) -> FixedPointGNN:
    """Return a network whose transitions are near the bound."""
    torch.manual_seed(0)
    network = FixedPointGNN(4, 2, state=3, hidden=6, contraction=contraction).double()
    with torch.no_grad():
        for each in network.transition.parameters():
            each.mul_(4)
    return network


def equation(network: FixedPointGNN, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return P [nodes · state, nodes · state] and b by the paper's sums, one edge after another."""
    nodes, s = len(x), network.state
    matrix, constant = torch.zeros(nodes * s, nodes * s, dtype=x.dtype), torch.zeros(nodes * s, dtype=x.dtype)
    leaving = adjacency(EDGES, nodes).sum(0)
    rows, forces = [], []
    for u, n in EDGES.T.tolist():
        block = network.transition(torch.cat([x[n], x[u]])).view(s, s) * network.contraction / (s * leaving[u])
        place = torch.zeros(nodes, nodes, dtype=x.dtype)
        place[n, u] = 1
        rows.append(torch.kron(place, block))
        forces.append(torch.kron(torch.eye(nodes, dtype=x.dtype)[n], network.forcing(x[n])))
    return sum(rows, start=matrix), sum(forces, start=constant)


def unrolled(network: FixedPointGNN, x: Tensor, steps: int) -> Tensor:
    """Return the outputs after so many steps from 0, for autograd to go back through."""
    matrix, constant = equation(network, x)
    state = torch.zeros_like(constant)
    for _ in range(steps):
        state = matrix @ state + constant
    return network.output(torch.cat([state.view(len(x), -1), x], 1))


@pytest.mark.demonstrates("gnn-scarselli")
def test_one_state_from_any_start_and_its_gradient_is_that_of_many_steps() -> None:
    network, x = built(), numbers(7, 4)
    matrix, constant = equation(network, x)
    # A contraction in the norm ‖z‖₁, near its bound.
    assert 0.5 < float(matrix.detach().abs().sum(0).max()) <= 0.9
    solution = torch.linalg.solve(torch.eye(21, dtype=torch.float64) - matrix, constant).detach().view(7, 3)
    for scale in (0.0, 1.0, 1e3, -1e6):
        found = network.states(x, EDGES, start=scale * (1 + numbers(7, 3, seed=3).abs()))
        torch.testing.assert_close(found, solution, rtol=0, atol=1e-8)
    weigh = numbers(7, 2, seed=4)
    x.requires_grad_()
    wanted = [x, *network.parameters()]
    gradients = torch.autograd.grad((network(x, EDGES) * weigh).sum(), wanted)
    # What is left after 400 steps is at most 0.9⁴⁰⁰ = 5e-19 of it.
    expected = torch.autograd.grad((unrolled(network, x, 400) * weigh).sum(), wanted)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    # After few steps it is another one.
    early = torch.autograd.grad((unrolled(network, x, 3) * weigh).sum(), wanted)
    assert max(float((one - other).abs().max()) for one, other in zip(gradients, early, strict=True)) > 1e-4


def test_every_step_comes_nearer_by_the_contraction() -> None:
    for contraction in (0.3, 0.99):
        network, x = built(contraction), numbers(7, 4)
        matrix, _ = equation(network, x)
        one, other = numbers(21, seed=5), numbers(21, seed=6)
        ratio = (matrix @ (one - other)).abs().sum() / (one - other).abs().sum()
        assert 0 < ratio <= contraction
        solution = torch.linalg.solve(torch.eye(21, dtype=torch.float64) - matrix, equation(network, x)[1])
        torch.testing.assert_close(network.states(x, EDGES).view(-1), solution, rtol=1e-10, atol=1e-12)


def test_its_solution_is_differentiable_twice_forward_and_under_vmap() -> None:
    entries = torch.tensor([[0, 1, 2, 2], [1, 0, 1, 2]])
    weights, constants = 0.3 * numbers(2, 4).tanh(), numbers(2, 3, 1, seed=2)
    weights.requires_grad_()
    constants.requires_grad_()

    def solve(weights: Tensor, constants: Tensor) -> Tensor:
        return _solve(entries, weights, constants, torch.zeros_like(constants), 0.7)

    assert torch.autograd.gradcheck(solve, (weights, constants), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda *each: solve(*each).sin(), (weights, constants))
    stacked = torch.func.vmap(solve)(torch.stack([weights, weights / 2]), torch.stack([constants, constants]))
    torch.testing.assert_close(stacked[1], solve(weights / 2, constants))


def test_float32_arrives_and_a_nan_stays_in_its_sample() -> None:
    network, x = built().float(), numbers(3, 7, 4).float()
    exact = built()(x.double(), EDGES)
    # The equation's condition is at most 1 / (1 − 0.9), and a sum of tens of terms has tens of units.
    torch.testing.assert_close(network(x, EDGES).double(), exact, rtol=0, atol=1e-4)
    x[1, 0, 0] = torch.nan
    spoilt = network(x, EDGES)
    torch.testing.assert_close(spoilt[::2].double(), exact[::2], rtol=0, atol=1e-4)
    assert spoilt[1].isnan().any()


def test_a_start_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match=r"start is \[7, 2\]") as caught:
        built().states(numbers(7, 4), EDGES, start=torch.zeros(7, 2))
    assert "[7, 3]" in caught.value.todo
