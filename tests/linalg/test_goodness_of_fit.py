"""The p-value of a power law: its definition, line by line, and planted cases."""

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.linalg import PowerLawFit, fit_power_law, goodness_of_fit


def pareto(alpha, n, seed):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def spliced(seed):
    rng = np.random.default_rng(seed)
    return np.append(rng.random(100) ** 0.5, pareto(2.5, 100, seed))


def test_p_agrees_with_the_definition():
    x = spliced(3)
    fit = fit_power_law(x)
    rng = np.random.default_rng(1)
    body = x[x < fit.x_min]
    distances = []
    for _ in range(1000):
        n_tail = rng.binomial(x.size, fit.n_tail / x.size)
        tail = fit.x_min * rng.random(n_tail) ** (-1 / (fit.alpha - 1))
        distances.append(fit_power_law(np.append(tail, rng.choice(body, x.size - n_tail))).ks_distance)
    # A distance near the middle of the distribution, where a wrong sample would show.
    middle = PowerLawFit(fit.status, fit.n_values, fit.alpha, fit.stderr, fit.x_min, np.median(distances), fit.n_tail)
    p = goodness_of_fit(x, middle, n_samples=1000, rng=np.random.default_rng(0))
    # Two shares of 1000 draws around ½ differ by √(2/4000) = 0.022; four times that.
    assert abs(p - 0.5) <= 0.09


def test_samples_are_the_body_and_the_fitted_tail():
    from deepscope.linalg._goodness_of_fit import _samples

    body = np.array([0.2, 0.5, 0.7])
    drawn = _samples(body, 3.0, 7, 4000, np.random.default_rng(0))
    tail = drawn[drawn >= 1]
    # 40,000 values, each in the tail with probability 0.7: a standard deviation of 92; four of them.
    assert abs(tail.size - 28_000) <= 370
    # P(x > 2) = 2^−2; a quarter of 28,000 with a standard deviation of 72.
    assert abs((tail > 2).sum() - tail.size / 4) <= 290
    values, counts = np.unique(drawn[drawn < 1], return_counts=True)
    assert values.tolist() == body.tolist()
    # 4,000 each, with a standard deviation of 63.
    assert abs(counts - counts.mean()).max() <= 250


def test_scale_and_order_change_nothing():
    x = spliced(0)
    one, other = (
        goodness_of_fit(y, fit_power_law(y), n_samples=50, rng=np.random.default_rng(0))
        for y in (x, x[::-1] * 2.0**-20)
    )
    assert one == other


def test_one_table_of_samples_is_not_needed(monkeypatch):
    from deepscope.linalg import _goodness_of_fit

    x = spliced(0)
    monkeypatch.setattr(_goodness_of_fit, "_BLOCK", 10 * x.size)
    p = goodness_of_fit(x, fit_power_law(x), n_samples=25, rng=np.random.default_rng(0))
    assert 25 * p == round(25 * p)
    assert 0 < p <= 1


def test_evenly_spaced_values_are_no_power_law():
    x = np.arange(1.0, 1001.0) + 1000
    fit = fit_power_law(x)
    assert goodness_of_fit(x, fit, n_samples=100, rng=np.random.default_rng(0)) == 0.0


def test_exact_quantiles_fit_perfectly():
    x = (np.arange(1, 301) / 301) ** -0.5
    assert goodness_of_fit(x, fit_power_law(x), n_samples=100, rng=np.random.default_rng(0)) == 1.0


def test_an_exponent_near_one_does_not_overflow():
    # α − 1 is about 0.004: one of 200 drawn values in two would be above 10^300 · x_min.
    x = 10 ** np.minimum(np.random.default_rng(0).exponential(100, size=200), 290)
    assert 0 <= goodness_of_fit(x, fit_power_law(x), n_samples=20, rng=np.random.default_rng(0)) <= 1


@pytest.mark.parametrize(
    ("values", "fit", "n_samples", "reason"),
    [
        (np.ones(50), fit_power_law(np.ones(50)), 10, "no fit"),
        (pareto(3.0, 50, 0), fit_power_law(pareto(3.0, 50, 1)), 10, "not one of these values"),
        (pareto(3.0, 51, 0), fit_power_law(pareto(3.0, 50, 0)), 10, "not one of these values"),
        (pareto(3.0, 50, 0), fit_power_law(pareto(3.0, 50, 0)), 0, "no samples"),
    ],
)
def test_what_cannot_be_tested_is_refused(values, fit, n_samples, reason):
    with pytest.raises(UsageError, match=reason):
        goodness_of_fit(values, fit, n_samples=n_samples, rng=np.random.default_rng(0))
