from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from contract import overfits, squared_error
from recurrences import reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from scipy.integrate import solve_ivp
from scipy.signal import cont2discrete
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import (
    HippoLegS,
    HippoMemory,
    HippoRNN,
    discretise,
    hippo_lagt,
    hippo_legs,
    hippo_legt,
    legendre_basis,
)


@pytest.fixture(autouse=True)
def _double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def projection(signal: Tensor, n: int) -> Tensor:
    """The twin: coefficients of a step function, [time], by quadrature in each step, exact for these degrees."""
    nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(n))
    points = (torch.arange(len(signal))[:, None] + nodes + 0.5) / len(signal)
    return torch.einsum("t,q,tqn->n", signal, weights, legendre_basis(n, points)) / len(signal)


def signals(count: int, length: int, *, cycles: int = 8, seed: int = 0) -> Tensor:
    """Band-limited signals at the middle of each step, [length, count]."""
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * torch.pi * torch.arange(1, cycles + 1) * ((torch.arange(length) + 0.5) / length)[:, None]
    basis = torch.cat((angles.sin(), angles.cos()), 1)
    return basis @ torch.randn(2 * cycles, count, generator=generator) / cycles**0.5


def remembered(memory: HippoLegS | HippoMemory, read: Tensor) -> Tensor:
    """Coefficients after the last step, [count, n]."""
    return memory(read[None])[0, -1]


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def decoded(make: Callable[[int], HippoLegS | HippoMemory], train: Tensor, test: Tensor) -> float:
    """The relative error of reconstructions of a test by a ridge regression on other signals.

    Without the ridge, of a millionth of the coefficients' mean square, numbers in float64 would tell any signal of 16
    parameters from 32 coefficients, however faint its traces in them.
    """
    read = remembered(make(train.shape[1]), train)
    gram = read.T @ read
    ridge = 1e-6 * gram.diagonal().mean() * torch.eye(len(gram))
    decoder = torch.linalg.solve(gram + ridge, read.T @ train.T)
    return relative(remembered(make(test.shape[1]), test) @ decoder, test.T)


@pytest.mark.demonstrates("hippo")
def test_the_memory_is_the_projection_and_others_are_not() -> None:
    """Equal to the exact projection; the error falls with N; free of a time scale; a random A fails."""
    length = 256
    train, test = signals(120, length), signals(20, length, seed=1)

    # Equal: 256 steps in float64, with matrices of norm N.
    memory = HippoLegS(20, 24, method="zoh")
    coefficients = remembered(memory, test)
    exact = torch.stack([projection(each, 24) for each in test.T])
    torch.testing.assert_close(coefficients, exact, rtol=0, atol=1e-12)

    # The error falls with N, to that of the best polynomial: 8 cycles need some 8π = 25 coefficients.
    points = (torch.arange(length) + 0.5) / length
    errors = []
    for n in (8, 16, 32, 48):
        found = remembered(HippoLegS(20, n, method="zoh"), test) @ legendre_basis(n, points).T
        errors.append(relative(found, test.T))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5
    assert errors[-1] < 0.02

    # Free of a time scale: what is read three times as slowly leaves the same coefficients.
    slow = remembered(memory, test.repeat_interleave(3, 0))
    torch.testing.assert_close(slow, coefficients, rtol=0, atol=1e-12)
    windowed = HippoMemory(20, *hippo_legt(24, 1.0), step=1 / length)
    assert relative(remembered(windowed, test.repeat_interleave(3, 0)), remembered(windowed, test)) > 0.5

    # A random stable A fails, of three time scales the best, read by the decoder that suits it best.
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(32, 32, generator=generator) / 32**0.5
    A -= (torch.linalg.eigvals(A).real.max() + 0.1) * torch.eye(32)
    B = torch.randn(32, generator=generator)
    random = min(
        decoded(lambda count, step=scale / length: HippoMemory(count, A, B, step=step), train, test)
        for scale in (3.0, 10.0, 30.0)
    )
    legs = decoded(lambda count: HippoLegS(count, 32, method="zoh"), train, test)
    assert random > 10 * legs


def test_the_bilinear_rule_approaches_the_projection_as_steps_shrink() -> None:
    """Its error is of first order in 1/L, that of the singular first steps; so is Euler's, ten times as large."""
    errors = {"bilinear": [0.0], "backward": [0.0]}
    for method in errors:
        errors[method] = [
            relative(remembered(HippoLegS(1, 16, method=method), s)[0], projection(s[:, 0], 16))
            for s in (signals(1, length, cycles=3) for length in (100, 200, 400))
        ]
    for error in errors.values():
        assert 1.6 < error[0] / error[1] < 2.4 or 1.6 < error[1] / error[2] < 2.4
    assert errors["bilinear"][2] < 0.03 < errors["backward"][2]


def test_the_laguerre_memory_is_the_projection() -> None:
    """On exp(−s), with a zero-order hold: c_n = Σ_j f_j ∫ L_n(s) exp(−s) ds over the step j before now."""
    step, read = 0.05, signals(1, 200)
    found = remembered(HippoMemory(1, *hippo_lagt(6), step=step, method="zoh"), read)[0]
    nodes, weights = np.polynomial.legendre.leggauss(8)
    s = step * (np.arange(200)[:, None] + (nodes + 1) / 2)
    for n in range(6):
        laguerre = np.polynomial.laguerre.lagval(s, np.eye(6)[n]) * np.exp(-s) @ weights * step / 2
        assert abs(float(found[n]) - float(read[:, 0].flip(0) @ torch.from_numpy(laguerre))) < 1e-12


def test_the_window_of_the_translated_legendre_memory_holds_the_last_signal() -> None:
    """A polynomial below degree n is projected exactly once it fills the window: nothing is lost that was unknown."""
    n, window, step = 6, 1.0, 1 / 2_000
    A, B = hippo_legt(n, window)
    time = (torch.arange(6_000) + 0.5) * step
    coefficients = HippoMemory(1, A, B, step=step)(time[None, :, None] ** 2)[0, -1, 0]
    x = torch.linspace(0, 1, 11)
    # c is that of t² on the last unit of time; the rule's error is of second order, (1/2000)² × (n²)².
    expected = (float(time[-1]) + step / 2 - window + window * x) ** 2
    torch.testing.assert_close(legendre_basis(n, x) @ coefficients, expected, rtol=0, atol=3e-3)


def test_the_matrices_are_those_of_the_paper() -> None:
    for n in (1, 2, 7):
        A, B = hippo_legs(n)
        for i in range(n):
            assert float(B[i]) == (2 * i + 1) ** 0.5
            for k in range(n):
                entry = -((2 * i + 1) ** 0.5) * (2 * k + 1) ** 0.5 if i > k else -(i + 1.0) * (i == k)
                assert abs(float(A[i, k]) - entry) < 1e-14
        translated, drive = hippo_legt(n, 3.0)
        assert torch.equal(drive, B / 3)
        sign = (-1.0) ** (torch.arange(n)[:, None] - torch.arange(n))
        wanted = -torch.outer(B, B) / 3 * torch.where(torch.ones(n, n).tril().bool(), torch.ones(n, n), sign)
        torch.testing.assert_close(translated, wanted)


def test_the_basis_is_orthonormal() -> None:
    nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(40))
    for n in (1, 2, 40):
        basis = legendre_basis(n, nodes + 0.5)
        torch.testing.assert_close(basis.T * weights @ basis, torch.eye(n), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "name"), [("forward", "euler"), ("backward", "backward_diff"), ("bilinear", "bilinear"), ("zoh", "zoh")]
)
def test_the_rules_are_those_of_scipy(method: str, name: str) -> None:
    A, B = hippo_legs(5)
    found = discretise(A, B, 0.1, method)
    theirs = cont2discrete((A.numpy(), B[:, None].numpy(), np.eye(5), np.zeros((5, 1))), 0.1, method=name)
    torch.testing.assert_close(found[0], torch.from_numpy(theirs[0]), rtol=0, atol=1e-13)
    wanted = torch.from_numpy(theirs[1])[:, 0]
    torch.testing.assert_close(found[1], wanted, rtol=0, atol=1e-13)
    batched = discretise(A, B, torch.tensor([[0.1], [0.2]]), method)
    torch.testing.assert_close(batched[0][0, 0], found[0], rtol=0, atol=1e-14)
    torch.testing.assert_close(batched[1][0, 0], found[1], rtol=0, atol=1e-14)
    assert batched[1].shape == (2, 1, 5)


@pytest.mark.parametrize(("method", "order"), [("forward", 1), ("backward", 1), ("bilinear", 2)])
def test_the_rules_have_their_order(method: str, order: int) -> None:
    """Against an adaptive solver, for f = 1: the error falls as the step to the power of the order."""
    A, B = hippo_legs(3)
    solution = solve_ivp(lambda _, c: A.numpy() @ c + B.numpy(), (0, 1), np.zeros(3), rtol=1e-11, atol=1e-12)
    exact = torch.from_numpy(solution.y[:, -1])
    errors = []
    for steps in (64, 128):
        memory = HippoMemory(1, A, B, step=1 / steps, method=method)
        errors.append(float((remembered(memory, torch.ones(steps, 1))[0] - exact).norm()))
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.1


@pytest.mark.parametrize("method", ["forward", "backward", "bilinear", "zoh"])
def test_a_memory_goes_on_from_its_state(method: str) -> None:
    for memory in (HippoLegS(3, 5, method=method), HippoMemory(3, *hippo_legt(5), step=0.1, method=method)):
        reads_step_by_step(memory, steps=12)
        scans_in_sight(memory)
        assert sees_no_later_step(memory)


def test_the_network_computes_its_formula() -> None:
    torch.manual_seed(0)
    model, read = HippoRNN(2, 3, 4), torch.randn(2, 6, 2)
    A, B = hippo_legs(4)
    hidden, memory = torch.zeros(2, 3), torch.zeros(2, 4)
    for k in range(1, 7):
        seen = torch.cat((hidden, memory, read[:, k - 1]), 1)
        gate = torch.sigmoid(seen @ model.gate.weight.T + model.gate.bias)
        new = torch.tanh(seen @ model.candidate.weight.T + model.candidate.bias)
        hidden = (1 - gate) * hidden + gate * new
        feature = hidden @ model.feature.weight.T + model.feature.bias
        left, right = torch.eye(4) - A / (2 * k), torch.eye(4) + A / (2 * k)
        memory = torch.linalg.solve(left, right @ memory.T + feature.T * B[:, None] / k).T
    torch.testing.assert_close(model(read)[:, -1], hidden, rtol=0, atol=1e-12)
    reads_step_by_step(model)
    scans_in_sight(model)
    assert sees_no_later_step(model)


def test_the_network_learns_sixteen_samples_by_heart() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(HippoRNN(2, 16, 4), nn.Linear(16, 1))
    overfits(model, torch.randn(16, 2, 2), torch.randn(16, 2, 1), squared_error, steps=300, rate=3e-2)


def test_bad_input_is_refused() -> None:
    for model in (HippoLegS(3, 4), HippoMemory(3, *hippo_legs(4)), HippoRNN(3, 4, 5)):
        assert model(torch.randn(2, 1, 3)).isfinite().all()
        refuses_what_does_not_fit(model)
        assert model(torch.full((1, 2, 3), torch.nan)).isnan().all()
    A, B = hippo_legs(4)
    for make in (
        lambda: hippo_legs(0),
        lambda: hippo_lagt(0),
        lambda: hippo_legt(4, 0.0),
        lambda: hippo_legt(4, float("nan")),
        lambda: legendre_basis(0, torch.ones(1)),
        lambda: HippoMemory(3, A, B, step=-1.0),
        lambda: discretise(A, B[:3], 0.1),
        lambda: discretise(A[:3], B, 0.1),
        lambda: discretise(A, B, 0.0),
        lambda: HippoLegS(3, 0),
        lambda: HippoLegS(3, 4, method="midpoint"),
        lambda: HippoMemory(3, A, B[:3]),
        lambda: HippoRNN(3, 0),
    ):
        with pytest.raises(UsageError) as refused:
            make()
        # A function is named as such, not by its type.
        assert "function" not in str(refused.value)
