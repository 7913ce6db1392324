from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError, UsageError
from deepscope.training import SaddleFreeNewton, fit, with_closure
from deepscope.training._saddle_free_newton import _krylov


def saddle(size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """A symmetric matrix with eigenvalues of both signs, and these with their vectors."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    values = torch.linspace(-1.5, 4.0, size, dtype=torch.float64)
    return vectors @ values.diag() @ vectors.T, values, vectors


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_a_saddle_is_left_at_the_rate_of_the_closed_form(rate: float) -> None:
    matrix, values, vectors = saddle()
    point = nn.Parameter(vectors @ torch.tensor([1e-3, 2e-3, 0.7, 0.5, -0.4, 1.0], dtype=torch.float64))
    begin = vectors.T @ point.detach()
    optimizer = SaddleFreeNewton([point], lr=rate, dampings=[1e-13])
    for _ in range(4):
        optimizer.step(lambda: point @ matrix @ point / 2)
    # δ = 1e-13 and rounding, 1e-16 by a condition of 4/0.4, err by some 1e-12 of the largest component a step.
    expected = (1 - rate * values.sign()) ** 4 * begin
    assert (vectors.T @ point.detach()).tolist() == pytest.approx(expected.tolist(), abs=1e-10)
    # Newton's own step goes to the saddle.
    assert torch.linalg.solve(matrix, matrix @ point.detach()).sub(point.detach()).norm() < 1e-12


def network() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return model, torch.randn(20, 3, dtype=torch.float64), torch.randint(2, (20,))


def test_a_step_of_a_network_is_that_of_the_whole_hessian() -> None:
    model, x, labels = network()
    names = [name for name, _ in model.named_parameters()]
    before = nn.utils.parameters_to_vector(model.parameters()).detach()

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([each.numel() for each in model.parameters()])
        weights = {name: part.view_as(each) for name, part, each in zip(names, parts, model.parameters(), strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(model, weights, (x,)), labels)

    gradient = torch.func.grad(loss)(before)
    values, vectors = torch.linalg.eigh(torch.func.hessian(loss)(before))
    assert values.min() < 0
    expected = before - 0.5 * vectors @ ((vectors.T @ gradient) / (values.abs() + 0.1))
    optimizer = SaddleFreeNewton(model.parameters(), lr=0.5, rank=100, dampings=[0.1])
    optimizer.step(lambda: nn.functional.cross_entropy(model(x), labels))
    # Rounding over a damping of 0.1, in a Krylov space that is made orthogonal twice.
    after = nn.utils.parameters_to_vector(model.parameters())
    assert (after - expected).abs().max() < 1e-10


def test_a_small_krylov_space_holds_the_gradients_own_part() -> None:
    matrix, _, _ = saddle()
    point = nn.Parameter(torch.ones(6, dtype=torch.float64))
    gradient = matrix @ point.detach()
    # In span(g) the Hessian is the number gᵀHg/gᵀg.
    curvature = gradient @ matrix @ gradient / (gradient @ gradient)
    SaddleFreeNewton([point], rank=1, dampings=[0.5]).step(lambda: point @ matrix @ point / 2)
    expected = 1 - gradient / (curvature.abs() + 0.5)
    assert point.tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_the_basis_stays_orthogonal_where_curvatures_are_far_apart() -> None:
    # Twelve decades: made orthogonal once, the last vectors are copies of the first.
    vectors = torch.linalg.qr(torch.randn(60, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    matrix = vectors @ torch.logspace(-8, 4, 60, dtype=torch.float64).diag() @ vectors.T
    start = torch.full((60,), 60**-0.5, dtype=torch.float64)
    basis, projected = _krylov(lambda vector: matrix @ vector, start, 60)
    assert (basis @ basis.T - torch.eye(60)).abs().max() < 1e-12
    # Roundings of the largest, 1e4.
    assert (basis @ matrix @ basis.T - projected).abs().max() < 1e-9


def test_of_several_dampings_that_with_the_lowest_loss_is_taken() -> None:
    def rise(x: Tensor) -> Tensor:
        return (x**4 / 4 - x).sum()

    found = {}
    for dampings in ([1e-3], [1.0], [10.0], [1e-3, 1.0, 10.0]):
        point = nn.Parameter(torch.tensor([0.1], dtype=torch.float64))
        value = SaddleFreeNewton([point], dampings=dampings).step(lambda point=point: rise(point))
        assert value.item() == pytest.approx(0.1**4 / 4 - 0.1)
        found[tuple(dampings)] = point.item()
    losses = {key: rise(torch.tensor(value)).item() for key, value in found.items()}
    assert losses[1e-3, 1.0, 10.0] == min(losses.values()) == losses[(1.0,)] < losses[(10.0,)]


def test_fit_trains_with_it() -> None:
    model, x, labels = network()
    loss = nn.functional.cross_entropy
    data, closure = with_closure(model, lambda epoch: [(x, labels)], loss, backward=False)
    optimizer = SaddleFreeNewton(model.parameters(), rank=10, closure=closure)
    history = fit(model, data, loss, optimizer=optimizer, epochs=15)
    assert history.loss[-1] < 0.3 * history.loss[0]
    assert all(later <= earlier for earlier, later in zip(history.loss, history.loss[1:], strict=False))


def test_what_cannot_be_done_is_named() -> None:
    point = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    for name, value in {"rank": 0, "dampings": (0.0,), "lr": -1.0}.items():
        with pytest.raises(UsageError, match=name):
            SaddleFreeNewton([point], **{name: value})
    with pytest.raises(UsageError, match="groups"):
        SaddleFreeNewton([{"params": [point]}, {"params": [nn.Parameter(torch.ones(1))]}])
    optimizer = SaddleFreeNewton([point], dampings=[1.0, 2.0])
    with pytest.raises(UsageError, match="no closure"):
        optimizer.step()
    with pytest.raises(UsageError, match="depends on the parameters"):
        optimizer.step(lambda: torch.tensor(1.0))
    with pytest.raises(MeasurementError, match="the loss is not finite"):
        optimizer.step(lambda: point.sum() * float("nan"))
    # At a loss that jumps to infinity everywhere else, the weights stay.
    with pytest.raises(MeasurementError, match="whatever the damping"):
        optimizer.step(lambda: point.square().sum() if point[0] == 1 else point.sum() * torch.inf)
    assert point.tolist() == [1.0, 2.0]
    # Where the closure fails at one of several steps, they stay as well.
    with pytest.raises(KeyError):
        optimizer.step(lambda: point.square().sum() if point[0] == 1 else {}["planted"])
    assert point.tolist() == [1.0, 2.0]
    # A rank far above the number of parameters costs nothing.
    SaddleFreeNewton([point], lr=0.0, rank=10**9, dampings=[1.0]).step(lambda: point.square().sum())
    # A straight line has no curvature, and a stationary point no gradient.
    optimizer.step(lambda: point.sum())
    assert point.tolist() == [0.0, 1.0]
    optimizer.step(lambda: ((point - point.detach()) ** 2).sum())
    assert point.tolist() == [0.0, 1.0]
