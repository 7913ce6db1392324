from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import SAM, fit, with_closure

CURVATURE = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)


def quadratic(weight: Tensor) -> Tensor:
    return weight @ CURVATURE @ weight / 2


def steps(optimizer: torch.optim.Optimizer, weight: Tensor, count: int) -> list[list[float]]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = quadratic(weight)
        loss.backward()
        return loss

    course = []
    for _ in range(count):
        closure()
        optimizer.step(closure)
        course.append(weight.tolist())
    return course


def doubles(values: list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def start(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_it_follows_the_recursion_and_the_libraries() -> None:
    from pytorch_optimizer import SAM as Theirs  # noqa: N811 - the same name

    ours, theirs = start(1.0, -2.0, 0.5), start(1.0, -2.0, 0.5)
    course = steps(SAM([ours], torch.optim.SGD, rho=0.3, lr=0.1, momentum=0.8), ours, 30)
    w, v = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for found in course:
        gradient = CURVATURE @ w
        v = 0.8 * v + CURVATURE @ (w + 0.3 * gradient / gradient.norm())
        w = w - 0.1 * v
        assert found == pytest.approx(w.tolist(), abs=1e-10)
    # The library's norm is in float32: 6e-8 of the radius a step, and the momentum's sum of 5 of them.
    peer = steps(Theirs([theirs], torch.optim.SGD, rho=0.3, lr=0.1, momentum=0.8), theirs, 30)
    assert doubles(course).allclose(doubles(peer), rtol=0, atol=1e-5)


def test_it_ends_in_the_orbit_of_the_closed_form() -> None:
    curvature, rate, rho = 2.0, 0.3, 0.1
    weight = start(1.0)
    optimizer = SAM([weight], torch.optim.SGD, rho=rho, lr=rate)
    for _ in range(200):
        weight.grad = curvature * weight.detach().clone()

        def closure() -> None:
            weight.grad = curvature * weight.detach().clone()

        optimizer.step(closure)
    # w → (1 − ηλ)w − ηλρ·sign w has the orbit ±ηλρ/(2 − ηλ), to which it goes as |1 − ηλ|ᵗ = 0.4²⁰⁰.
    product = rate * curvature
    assert abs(weight.item()) == pytest.approx(product * rho / (2 - product), rel=1e-12)


def test_without_a_radius_it_is_its_base() -> None:
    one, other = start(1.0, 2.0, -1.0), start(1.0, 2.0, -1.0)
    course = steps(SAM([one], torch.optim.Adam, rho=0.0, lr=0.1), one, 10)
    assert course == steps(torch.optim.Adam([other], lr=0.1), other, 10)


def test_the_norm_is_over_all_groups_and_each_may_have_its_radius() -> None:
    a, b, at = start(3.0), start(4.0), []

    def closure() -> None:
        at.append((a.item(), b.item()))

    a.grad, b.grad = start(3.0).detach(), start(4.0).detach()
    optimizer = SAM([{"params": [a], "rho": 1.0}, {"params": [b]}], torch.optim.SGD, rho=0.5, lr=0.1)
    optimizer.step(closure)
    assert at[0] == pytest.approx((3.0 + 3 / 5, 4.0 + 0.5 * 4 / 5), abs=1e-12)


def test_a_gradient_of_16_bits_has_its_norm() -> None:
    weight = nn.Parameter(torch.zeros(4, dtype=torch.float16))
    weight.grad, at = torch.full((4,), 6e4, dtype=torch.float16), []
    # The norm is 1.2e5, above the largest float16.
    SAM([weight], torch.optim.SGD, rho=1.0, lr=0.0).step(lambda: at.extend(weight.tolist()))
    assert at == pytest.approx([0.5] * 4, abs=2**-10)


def test_where_the_gradient_is_0_nothing_is_perturbed() -> None:
    weight = start(2.0)
    weight.grad = torch.zeros_like(weight)
    optimizer = SAM([weight], torch.optim.SGD, lr=0.1)
    assert optimizer.step(weight.item) == 2.0
    assert weight.item() == 2.0


def test_a_closure_that_fails_leaves_the_weights() -> None:
    weight = start(2.0)
    weight.grad = torch.ones_like(weight)

    def closure() -> None:
        raise KeyError("planted")

    with pytest.raises(KeyError):
        SAM([weight], torch.optim.SGD, lr=0.1).step(closure)
    assert weight.item() == 2.0


def test_fit_trains_with_it_as_the_loop_of_the_paper_does() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, generator=generator), torch.randn(12, 1, generator=generator)
    batches = [(x[:5], y[:5]), (x[5:], y[5:])]
    loss = nn.functional.mse_loss
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    by_hand = copy.deepcopy(model)

    data, closure = with_closure(model, lambda epoch: batches, loss)
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.1, closure=closure, lr=0.2, momentum=0.5)
    history = fit(model, data, loss, optimizer=optimizer, epochs=3)

    weights = list(by_hand.parameters())
    momenta = [torch.zeros_like(each) for each in weights]
    losses = []
    for inputs, targets in batches * 3:
        value = loss(by_hand(inputs), targets)
        losses.append(value.item())
        gradients = torch.autograd.grad(value, weights)
        norm = torch.cat([each.reshape(-1) for each in gradients]).norm()
        shifted = {name: w + 0.1 * g / norm for (name, w), g in zip(by_hand.named_parameters(), gradients, strict=True)}
        moved = {name: each.detach().requires_grad_() for name, each in shifted.items()}
        worst = loss(torch.func.functional_call(by_hand, moved, (inputs,)), targets)
        with torch.no_grad():
            for w, v, g in zip(weights, momenta, torch.autograd.grad(worst, list(moved.values())), strict=True):
                v.mul_(0.5).add_(g)
                w.sub_(0.2 * v)
    # float32: a rounding of 6e-8 in each of six steps, through a smooth network of order 1.
    assert history.loss == pytest.approx(losses, rel=1e-5)
    for one, other in zip(model.parameters(), weights, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5)


def test_what_is_missing_is_named() -> None:
    weight = start(1.0)
    with pytest.raises(UsageError, match="gradient"):
        SAM([weight], torch.optim.SGD, lr=0.1).step(lambda: None)
    weight.grad = torch.ones_like(weight)
    with pytest.raises(UsageError, match="closure"):
        SAM([weight], torch.optim.SGD, lr=0.1).step()
    with pytest.raises(UsageError, match="base"):
        SAM([weight], torch.optim.SGD([weight]), lr=0.1)
    with pytest.raises(UsageError, match="SGD refuses its settings"):
        SAM([weight], torch.optim.SGD, lr=0.1, betas=(0.9, 0.9))
    with pytest.raises(UsageError, match="rho"):
        SAM([weight], torch.optim.SGD, rho=-1.0, lr=0.1)
    model = nn.Linear(1, 1)
    data = [(torch.ones(1, 1), torch.ones(1, 1))]
    with pytest.raises(UsageError, match="with_closure"):
        fit(
            model,
            lambda epoch: data,
            nn.functional.mse_loss,
            optimizer=SAM(model.parameters(), torch.optim.SGD, lr=0.1),
            epochs=1,
        )
    with pytest.raises(UsageError, match="no batch has been given"):
        with_closure(model, lambda epoch: data, nn.functional.mse_loss)[1]()
    with pytest.raises(UsageError, match="data must be a function"):
        with_closure(model, data, nn.functional.mse_loss)
