"""Annealed importance sampling against exact partition functions: unbiased, and within its own error."""

from __future__ import annotations

import math

import pytest
import torch

from deepscope.core import UsageError
from deepscope.models import RBM, annealed_importance_sampling


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(visible, hidden, seed=0):
    rbm, draws = RBM(visible, hidden).double(), generator(seed)
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws, dtype=torch.float64))
    return rbm


def test_mean_weight_is_the_partition_function_for_any_number_of_temperatures():
    """The theorem that makes it right: Ẑ is unbiased, with one temperature too, where it is importance sampling."""
    rbm = drawn(5, 4)
    exact = rbm.log_partition().item()
    errors = []
    for temperatures in (1, 5, 50):
        # Data of which nine bits in ten are set.
        for samples in (None, (torch.rand(20, 5, generator=generator(2)) < 0.9).double()):
            estimate = annealed_importance_sampling(
                rbm, temperatures=temperatures, chains=4000, samples=samples, generator=generator(1)
            )
            # Four standard errors of Ẑ; it would be outside once in 16 000 times.
            assert abs(math.exp(estimate.log_partition - exact) - 1) < 4 * estimate.standard_error
            assert estimate.lower < exact < estimate.upper
            errors.append(estimate.standard_error)
    # More temperatures make the weights alike.
    assert errors[4] < errors[2] < errors[0]
    assert estimate.effective_chains > 3000


def test_its_error_is_that_of_repetitions():
    rbm = drawn(6, 4, seed=3)
    exact = rbm.log_partition().item()
    found = [
        annealed_importance_sampling(rbm, temperatures=20, chains=100, generator=generator(seed)) for seed in range(60)
    ]
    scores = torch.tensor([(each.log_partition - exact) / each.standard_error for each in found])
    # Sixty scores of variance 1: their root mean square is within 3 · 1/√120 of it, and 0.05 for the logarithm.
    assert scores.square().mean().sqrt().item() == pytest.approx(1, abs=0.33)


def test_a_machine_without_weights_is_known_at_once():
    rbm = RBM(7, 3).double()
    torch.nn.init.zeros_(rbm.weight)
    estimate = annealed_importance_sampling(rbm, temperatures=3, chains=5, generator=generator())
    assert estimate.log_partition == pytest.approx(10 * math.log(2), abs=1e-12)
    assert estimate.standard_error < 1e-12
    assert estimate.effective_chains == pytest.approx(5)


def test_data_set_the_start_and_are_drawn_to_one_half_by_one_sample_of_each_value():
    samples = torch.tensor([[1.0, 0, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.float64)
    rbm = RBM(3, 2).double()
    torch.nn.init.zeros_(rbm.weight)
    with torch.no_grad():
        rbm.visible_bias.copy_(torch.logit(torch.tensor([4.0, 1, 2]).double() / 5))
    # It begins as the machine itself: all weights are alike.
    estimate = annealed_importance_sampling(rbm, temperatures=1, chains=9, samples=samples, generator=generator())
    assert estimate.standard_error < 1e-12
    assert estimate.log_partition == pytest.approx(rbm.log_partition().item(), abs=1e-12)


def test_a_bad_estimate_says_so():
    """Couplings so strong that chains freeze in one of many valleys: few weights have all the sum."""
    rbm = drawn(30, 20)
    with torch.no_grad():
        rbm.weight.mul_(8)
    estimate = annealed_importance_sampling(rbm, temperatures=2, chains=50, generator=generator())
    assert estimate.effective_chains < 5
    assert estimate.lower == -math.inf
    assert estimate.upper > estimate.log_partition


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"temperatures": 0}, "temperatures is 0"),
        ({"chains": 0}, "chains is 0"),
        ({"chains": 1}, "chains is 1"),
        ({"samples": torch.zeros(2, 4)}, r"samples is \[2, 4\]"),
        ({"samples": torch.full((2, 3), 0.2)}, "samples has other numbers"),
    ],
)
def test_bad_input_is_refused(arguments, match):
    with pytest.raises(UsageError, match=match):
        annealed_importance_sampling(RBM(3, 2), **arguments)
