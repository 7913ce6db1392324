"""Mixture of local experts: the gradient that lets each expert mend its own error alone."""

from __future__ import annotations

import math

import pytest
import torch
from contract import overfits, squared_error
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import MixtureOfExperts


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outputs_of(model: MixtureOfExperts, x: Tensor) -> list[Tensor]:
    return [expert(x) for expert in model.experts]


def test_each_expert_learns_from_its_own_error_by_its_share() -> None:
    """The gradient of the surprise by an expert's output is hᵢ (oᵢ − t), as in the paper; by its bias, the mean."""
    torch.manual_seed(0)
    model = MixtureOfExperts(3, 2, experts=4).double()
    x, t = (torch.randn(9, n, generator=generator(n), dtype=torch.float64) for n in (3, 2))
    model.surprise(x, t).backward()
    shares = model.responsibilities(x, t)
    for i, output in enumerate(outputs_of(model, x)):
        expected = (shares[:, i : i + 1] * (output - t)).mean(0)
        torch.testing.assert_close(model.experts[i].output.bias.grad, expected, rtol=1e-12, atol=1e-14)
    # That of the gate: prior less posterior.
    expected = (model.gates(x) - shares).mean(0)
    torch.testing.assert_close(model.gate.output.bias.grad, expected, rtol=1e-12, atol=1e-14)
    # The squared error of the mean is no such loss: every expert's error is the common one.
    model.zero_grad()
    (0.5 * (model(x) - t).square().sum(1)).mean().backward()
    common = (model.gates(x)[:, :1] * (model(x) - t)).mean(0)
    own = (model.gates(x)[:, :1] * (model.experts[0](x) - t)).mean(0)
    torch.testing.assert_close(model.experts[0].output.bias.grad, common, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(common, own, rtol=0.1)


def test_it_computes_its_formula() -> None:
    """The twin takes one sample and one expert after another."""
    torch.manual_seed(0)
    model = MixtureOfExperts(4, 3, experts=5, hidden=(6,)).double()
    x, t = (torch.randn(7, n, generator=generator(n), dtype=torch.float64) for n in (4, 3))
    mixed, shares, gates, surprises = model(x.reshape(7, 2, 2)), model.responsibilities(x, t), model.gates(x), []
    for n in range(7):
        scores = (model.gate.output.weight @ x[n] + model.gate.output.bias).exp()
        p = scores / scores.sum()
        likelihoods, mean = [], torch.zeros(3, dtype=torch.float64)
        for i, expert in enumerate(model.experts):
            o = expert.output.weight @ torch.tanh(expert.hidden1.weight @ x[n] + expert.hidden1.bias)
            o = o + expert.output.bias
            mean = mean + p[i] * o
            likelihoods.append(p[i] * torch.exp(-(t[n] - o).square().sum() / 2))
        total = sum(likelihoods)
        surprises.append(-math.log(total.item()))
        torch.testing.assert_close(gates[n], p, rtol=0, atol=1e-14)
        torch.testing.assert_close(mixed[n], mean, rtol=0, atol=1e-14)
        torch.testing.assert_close(shares[n], torch.stack(likelihoods) / total, rtol=0, atol=1e-14)
    assert model.surprise(x, t).item() == pytest.approx(sum(surprises) / 7, abs=1e-13)


def test_experts_share_out_two_tasks_and_a_mean_of_them_cannot() -> None:
    """|x| is two lines: two linear experts and a linear gate learn it, a linear model leaves its variance."""
    torch.manual_seed(0)
    x = torch.linspace(-4, 4, 64)[:, None]
    t = 3 * x.abs()
    model = MixtureOfExperts(1, 1, experts=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        model.surprise(x, t).backward()
        optimizer.step()
    assert (model(x) - t).square().mean() < 0.02 * t.var()
    chosen = model.gates(x).argmax(1)
    # All on one side ask one expert, but for those next to the kink.
    assert chosen[:28].unique().numel() == chosen[-28:].unique().numel() == 1
    assert chosen[0] != chosen[-1]


def test_targets_far_from_all_experts_have_a_finite_surprise() -> None:
    """Of exp(−½ 10⁸) nothing is left in any float: the sum must be taken in logarithms."""
    model = MixtureOfExperts(2, 2, experts=3)
    x, t = torch.zeros(4, 2), torch.full((4, 2), 1e4)
    assert model.surprise(x, t).item() == pytest.approx(1e8, rel=1e-3)
    torch.testing.assert_close(model.responsibilities(x, t).sum(1), torch.ones(4))


def test_gates_are_probabilities_and_one_expert_is_that_expert() -> None:
    x = torch.randn(5, 2)
    torch.testing.assert_close(MixtureOfExperts().gates(x).sum(1), torch.ones(5))
    model = MixtureOfExperts(experts=1)
    assert torch.equal(model(x), model.experts[0](x))


def test_the_papers_network_has_its_size() -> None:
    """Four linear experts of 2 inputs and 4 outputs, and a linear gate; eight of them are twice as many numbers."""
    for experts in (4, 8):
        model = MixtureOfExperts(experts=experts)
        assert sum(p.numel() for p in model.parameters()) == experts * (4 * 3 + 3) == 15 * experts


def test_sixteen_samples_are_learnt() -> None:
    torch.manual_seed(0)
    model = MixtureOfExperts(4, 2, experts=4, hidden=(16,))
    overfits(model, torch.randn(16, 4), 2 * torch.randn(16, 2), squared_error, steps=300)


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(3, 2)
    x[1, 0] = torch.nan
    assert MixtureOfExperts()(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="experts is 0"):
        MixtureOfExperts(experts=0)
    with pytest.raises(UsageError, match="unknown activation"):
        MixtureOfExperts(hidden=(3,), activation="swich")
    model = MixtureOfExperts(3, 2)
    for x in (torch.zeros(4, 2), torch.zeros(3), torch.zeros(4, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 3\]"):
            model(x)
    with pytest.raises(UsageError, match=r"the targets are \[4, 1\]"):
        model.surprise(torch.zeros(4, 3), torch.zeros(4, 1))
