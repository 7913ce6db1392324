"""The modern Hopfield network as attention, as descent of an energy, and as a memory."""

from __future__ import annotations

import math

import pytest
import torch
from contract import overfits
from torch import nn
from torch.nn.functional import mse_loss, scaled_dot_product_attention

from deepscope.core import UsageError
from deepscope.models import ModernHopfield, MultiHeadAttention


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(features=8, patterns=20, **options):
    torch.manual_seed(0)
    return ModernHopfield(features, patterns, **options).double()


@pytest.mark.demonstrates("hopfield-dynamics")
def test_an_update_is_a_step_of_attention():
    """Twins: ``MultiHeadAttention`` whose four maps are the identity, and torch's attention with any scale."""
    states, memory = drawn(3, 5, 8), built(beta=8**-0.5)
    attention = MultiHeadAttention(8, 1, bias=False).double()
    for each in (attention.query, attention.key, attention.value, attention.output):
        nn.init.eye_(each.weight)
    expected = attention(states, memory.patterns.expand(3, -1, -1))
    assert (memory(states) - expected).abs().max() < 1e-8
    for beta in (0.01, 1.0, 30.0):
        memory, patterns = built(beta=beta), built(beta=beta).patterns
        expected = scaled_dot_product_attention(states, patterns, patterns, scale=beta)
        assert (memory(states) - expected).abs().max() < 1e-8
        assert (memory.weights(states).sum(-1) - 1).abs().max() < 1e-12
    # The update of the classical network, the sign of a weighted sum, is none.
    classical = torch.sign(states @ memory.patterns.T @ memory.patterns)
    assert (memory(states) - classical).abs().max() > 0.1


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0])
def test_updates_descend_the_energy_and_never_below_zero(beta):
    memory, state = built(beta=beta), 3 * drawn(50, 8)
    energies = []
    for _ in range(30):
        energies.append(memory.energy(state))
        state = memory(state)
    energies = torch.stack(energies)
    # Rounding of sums of order 10.
    assert (energies.diff(dim=0) <= 1e-13).all()
    assert (energies >= 0).all()
    assert (energies[0] - energies[-1]).min() > 0.1
    # The update is where the gradient of E tells: ξ − ∇E(ξ).
    state = drawn(4, 8, seed=3).requires_grad_()
    (gradient,) = torch.autograd.grad(memory.energy(state).sum(), state)
    torch.testing.assert_close(memory(state), state - gradient, rtol=0, atol=1e-12)


def test_one_update_retrieves_with_an_exponentially_small_error():
    # Orthonormal patterns: each stands out from the others by Δ = 1, so that the wrong weights are (N − 1) e^−β.
    patterns = torch.linalg.qr(drawn(32, 12))[0].T
    errors = []
    for beta in (10.0, 15.0, 20.0):
        memory = built(32, 12, beta=beta)
        memory.store(patterns)
        errors.append((memory(patterns) - patterns).norm(dim=1).max().item())
        # Theorem 5 of the source, with the greatest norm M = 1: at most 2 (N − 1) M e^−βΔ.
        assert errors[-1] <= 2 * 11 * math.exp(-beta)
    assert math.log(errors[0] / errors[2]) == pytest.approx(10.0, rel=0.05)
    # Where all patterns are one, nothing can be told apart; a low β gives their mean.
    memory = built(32, 12, beta=1e-6)
    memory.store(patterns)
    torch.testing.assert_close(memory(patterns), patterns.mean(0).expand(12, -1), rtol=0, atol=1e-5)


def test_several_steps_are_one_after_another():
    once, thrice, state = built(beta=2.0), built(beta=2.0, steps=3), drawn(4, 8)
    torch.testing.assert_close(thrice(state), once(once(once(state))), rtol=0, atol=0)
    assert sum(parameter.numel() for parameter in once.parameters()) == 8 * 20


def test_it_learns_sixteen_patterns_by_heart():
    torch.manual_seed(0)
    model = nn.Sequential(ModernHopfield(8, 32, beta=0.5), nn.Linear(8, 2))
    overfits(model, drawn(16, 8).float(), 2 * drawn(16, 2, seed=1).float(), mse_loss, steps=400, rate=3e-2)


def test_nan_comes_out():
    x = drawn(2, 8)
    x[0, 1] = math.nan
    y = built()(x)
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ModernHopfield(0, 3), "features is 0"),
        (lambda: ModernHopfield(4, 0), "patterns is 0"),
        (lambda: ModernHopfield(4, 3, steps=0), "steps is 0"),
        (lambda: ModernHopfield(4, 3, beta=0.0), "beta is 0"),
        (lambda: ModernHopfield(4, 3, beta=math.nan), "beta is nan"),
        (lambda: ModernHopfield(4, 3)(torch.zeros(2, 5)), r"\[2, 5\]"),
        (lambda: ModernHopfield(4, 3)(torch.zeros(2, 4).long()), "int64"),
        (lambda: ModernHopfield(4, 3).energy(torch.zeros(())), r"\[\]"),
        (lambda: ModernHopfield(4, 3).store(torch.zeros(4, 3)), r"\[4, 3\]"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
