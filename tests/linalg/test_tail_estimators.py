"""Hill and moment estimators against their definitions, closed forms, and tails that are not heavy."""

import math

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import fit_power_law, hill_estimates, moment_alpha


def pareto(alpha, n, seed):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def test_hill_equals_the_definition():
    x = pareto(2.5, 300, 0)
    top = np.sort(x)[::-1]
    expected = [1 + k / math.fsum(math.log(value / top[k]) for value in top[:k]) for k in range(1, 300)]
    # A logarithm of a ratio near 1 is good to eps absolutely; Σ is at least 1e-3 here.
    assert hill_estimates(x) == pytest.approx(expected, rel=1e-11)


def test_hill_at_the_tail_of_a_fit_is_its_exponent():
    x = pareto(2.5, 300, 0)
    fit = fit_power_law(x)
    k = fit.n_tail - 1
    assert 1 + (hill_estimates(x)[k - 1] - 1) * (k + 1) / k == pytest.approx(fit.alpha, rel=1e-12)


def test_hill_of_equal_largest_values_is_infinite():
    # ln 2 over 1, then 2 of 3 … values: k = 3 is the first with a smaller threshold.
    assert hill_estimates([1.0, 4.0, 4.0, 4.0]) == pytest.approx([np.inf, np.inf, 1 + 1 / math.log(4)])


def test_moment_equals_the_definition():
    x = pareto(2.5, 300, 0)
    top = np.sort(x)[::-1]
    logs = [math.log(value / top[80]) for value in top[:80]]
    first, second = (math.fsum(value**r for value in logs) / 80 for r in (1, 2))
    index = first + 1 - 0.5 / (1 - first**2 / second)
    found = moment_alpha(x, 80)
    assert found.status == "ok"
    assert found.index == pytest.approx(index, rel=1e-12)
    assert found.alpha == pytest.approx(1 + 1 / index, rel=1e-12)
    assert found.stderr == pytest.approx(math.sqrt((1 + index**2) / 80) / index**2, rel=1e-11)


@pytest.mark.parametrize("alpha", [2.0, 3.0])
def test_moment_interval_covers_the_truth(alpha):
    found = [moment_alpha(pareto(alpha, 5000, seed), 4000) for seed in range(200)]
    # Exact Pareto has no bias from the threshold. 200 trials of 95 % scatter by 1.5 %, three times that; at k = 4000
    # the asymptotic error is good to a few per cent of itself.
    assert 0.90 <= np.mean([abs(one.alpha - alpha) <= 1.96 * one.stderr for one in found]) <= 0.995


def test_a_tail_with_an_end_is_not_heavy():
    rng = np.random.default_rng(0)
    # γ = −1 lies more than ten standard errors below 0.
    for found in (moment_alpha(rng.random(4000), 800) for _ in range(20)):
        assert "not heavy" in found.status
        assert (found.alpha, found.stderr) == (None, None)
        assert found.index == pytest.approx(-1, abs=0.5)


def test_an_exponential_tail_is_between():
    rng = np.random.default_rng(0)
    # γ = 0, with an error of 1/√(20 · 800) = 0.008 in the mean, and a bias towards heavy at this k: the logarithms'
    # thresholds are at ln(5) = 1.6 times the mean only.
    assert abs(np.mean([moment_alpha(rng.exponential(size=4000), 800).index for _ in range(20)])) <= 0.1


def test_scale_and_container_change_nothing():
    x = pareto(3.0, 200, 1)
    assert hill_estimates(x * 2.0**-20) == pytest.approx(hill_estimates(x), rel=1e-14)
    assert moment_alpha(x * 2.0**-20, 50) == moment_alpha(torch.tensor(x).reshape(20, 10), 50)


def test_equal_values_have_no_moments():
    found = moment_alpha([1.0, 4.0, 4.0, 4.0], 2)
    assert (found.alpha, found.index) == (None, None)
    assert "equal" in found.status
    # Near-equal logarithms keep their digits: e^{1, 1 + ε} above e^0 has M_1²/M_2 = 1 − ε²/4.
    spread = moment_alpha(np.exp([0.0, 1.0, 1.0 + 1e-6]), 2)
    assert spread.index == pytest.approx(-2e12, rel=1e-5)


@pytest.mark.parametrize("values", [[1.0], [0.0, 1.0, 2.0], [1.0, 2.0, np.inf], [1.0, 2.0, np.nan], [-1.0, 1.0, 3.0]])
def test_what_has_no_logarithm_is_refused(values):
    with pytest.raises(UsageError, match="positive, finite"):
        hill_estimates(values)
    with pytest.raises(UsageError, match="positive, finite"):
        moment_alpha(values, 2)


@pytest.mark.parametrize("k", [-1, 0, 1, 50])
def test_a_k_out_of_range_is_refused(k):
    with pytest.raises(UsageError, match="Choose another k"):
        moment_alpha(pareto(3.0, 50, 0), k)
