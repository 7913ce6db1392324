"""The restricted Boltzmann machine against sums over all states of both sides, and against scikit-learn's."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from contract import behaves
from torch import nn

from deepscope.core import UsageError
from deepscope.models import RBM, all_bits
from deepscope.models._binary import bits

SIZES = pytest.mark.parametrize(("visible", "hidden"), [(4, 3), (3, 5), (4, 4), (1, 1)])


def drawn(visible, hidden, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(visible, hidden).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return rbm


def joint(rbm):
    """Twin: exp(−E) of each pair of states, by loops over units, and the states."""
    weight, b, c = rbm.weight.tolist(), rbm.visible_bias.tolist(), rbm.hidden_bias.tolist()
    found = {}
    for v in itertools.product((0, 1), repeat=rbm.visible):
        for h in itertools.product((0, 1), repeat=rbm.hidden):
            exponent = sum(b[i] * v[i] for i in range(rbm.visible)) + sum(c[j] * h[j] for j in range(rbm.hidden))
            exponent += sum(v[i] * weight[i][j] * h[j] for i in range(rbm.visible) for j in range(rbm.hidden))
            found[v, h] = math.exp(exponent)
    return found


@SIZES
def test_partition_function_is_the_sum_over_both_sides(visible, hidden):
    rbm = drawn(visible, hidden)
    table = joint(rbm)
    z = sum(table.values())
    # Sums of at most 256 terms, each rounded a dozen times.
    assert rbm.log_partition().item() == pytest.approx(math.log(z), abs=1e-12)
    for v in all_bits(visible, rbm.weight):
        key = tuple(v.int().tolist())
        mass = sum(value for (first, _), value in table.items() if first == key)
        assert rbm.log_likelihood(v[None]).item() == pytest.approx(math.log(mass / z), abs=1e-12)
        for j in range(hidden):
            on = sum(value for (first, h), value in table.items() if first == key and h[j])
            assert rbm(v[None])[0, j].item() == pytest.approx(on / mass, abs=1e-12)
    for h in all_bits(hidden, rbm.weight):
        key = tuple(h.int().tolist())
        mass = sum(value for (_, second), value in table.items() if second == key)
        for i in range(visible):
            on = sum(value for (v, second), value in table.items() if second == key and v[i])
            assert rbm.visible_probabilities(h[None])[0, i].item() == pytest.approx(on / mass, abs=1e-12)
    ((v, h), value) = list(table.items())[-2]
    pair = (torch.tensor([each], dtype=torch.float64) for each in (v, h))
    assert rbm.energy(*pair).item() == pytest.approx(-math.log(value), abs=1e-12)


def test_partition_function_is_the_same_from_either_side_and_in_parts(monkeypatch):
    from deepscope.models import _rbm

    rbm = drawn(6, 4)
    other = RBM(4, 6).double()
    other.load_state_dict({"weight": rbm.weight.mT, "visible_bias": rbm.hidden_bias, "hidden_bias": rbm.visible_bias})
    whole = rbm.log_partition()
    assert whole.item() == pytest.approx(other.log_partition().item(), abs=1e-12)
    monkeypatch.setattr(_rbm, "_AT_ONCE", 5)
    assert rbm.log_partition().item() == pytest.approx(whole.item(), abs=1e-12)
    # Without weights and biases all states are alike, in float32 and for large sides too.
    large = RBM(900, 12)
    nn.init.zeros_(large.weight)
    assert large.log_partition().item() == pytest.approx(912 * math.log(2), rel=1e-6)


def test_it_is_the_machine_of_scikit_learn():
    from sklearn.neural_network import BernoulliRBM

    rbm, v = drawn(5, 4), bits(5)(20, torch.Generator().manual_seed(1)).double()
    twin = BernoulliRBM(4, n_iter=1, random_state=0).fit(v.numpy())
    twin.components_ = rbm.weight.detach().numpy().T
    twin.intercept_visible_, twin.intercept_hidden_ = (
        rbm.visible_bias.detach().numpy(),
        rbm.hidden_bias.detach().numpy(),
    )
    with torch.no_grad():
        assert abs(rbm(v).numpy() - twin.transform(v.numpy())).max() < 1e-12
        assert abs(rbm.free_energy(v).numpy() - twin._free_energy(v.numpy())).max() < 1e-12


def test_gibbs_chains_come_to_the_distribution():
    rbm, n = drawn(3, 2), 20_000
    generator = torch.Generator().manual_seed(3)
    ends = rbm.gibbs(torch.zeros(n, 3, dtype=torch.float64), steps=30, generator=generator)
    states = all_bits(3, rbm.weight)
    expected = n * rbm.log_likelihood(states).exp().detach()
    counts = torch.stack([(ends == state).all(1).sum() for state in states])
    # Chi-square of 7 degrees of freedom: above 24.3 once in a thousand seeds; of another machine's law it is.
    assert float(((counts - expected).square() / expected).sum()) < 24.3
    wrong = n * drawn(3, 2, seed=1).log_likelihood(states).exp().detach()
    assert float(((counts - wrong).square() / wrong).sum()) > 1000


def test_contract():
    torch.manual_seed(0)
    behaves(RBM(6, 4), RBM(6, 4), torch.rand(5, 6))
    first, again = (RBM(6, 4, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    # 24 000 numbers: their standard deviation is known to 0.5 %.
    assert RBM(200, 120).weight.std().item() == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: RBM(0, 3), "visible is 0"),
        (lambda: RBM(3, 0), "hidden is 0"),
        (lambda: RBM(3, 2)(torch.zeros(2, 4)), r"\[2, 4\]"),
        (lambda: RBM(3, 2)(torch.zeros(2, 3).double()), "float64"),
        (lambda: RBM(3, 2).visible_probabilities(torch.zeros(2, 3)), r"\[2, 3\]"),
        (lambda: RBM(3, 2).energy(torch.zeros(2, 3), torch.zeros(2, 3)), r"\[2, 3\]"),
        (lambda: RBM(3, 2).free_energy(torch.zeros(2, 2)), r"\[2, 2\]"),
        (lambda: RBM(3, 2).gibbs(torch.zeros(2, 3), steps=0), "steps is 0"),
        (lambda: RBM(3, 2).gibbs(torch.full((2, 3), torch.nan)), "v has other numbers"),
        (lambda: RBM(30, 23).log_partition(), "smaller side has 23 units"),
        (lambda: RBM(30, 23).log_likelihood(torch.zeros(1, 30)), "smaller side has 23 units"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
