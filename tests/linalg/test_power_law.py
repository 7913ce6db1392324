"""Tails against a naive twin, closed forms, and planted cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepscope.linalg import MIN_VALUES, fit_power_law


def naive_scan(x):
    """The definition, line by line; a tail of equal values has no exponent and distance 1."""
    x = np.sort(np.asarray(x, dtype=np.float64))
    n = x.size
    alphas, distances = np.full(n - 1, np.inf), np.ones(n - 1)
    for i in range(n - 1):
        m = n - i
        # A ratio may overflow where x spans more than 1e308; the difference of logarithms does not.
        with np.errstate(over="ignore"):
            logs = np.log1p((x[i:] - x[i]) / x[i])
        logs = np.where(np.isfinite(logs), logs, np.log(x[i:]) - np.log(x[i]))
        total = math.fsum(logs)
        if total > 0:
            alphas[i] = 1 + m / total
            distances[i] = np.abs(1 - np.exp((1 - alphas[i]) * logs) - np.arange(m) / m).max()
    return alphas, distances


def pareto(alpha, n, seed):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def check_against_twin(x):
    fit = fit_power_law(x)
    assert fit.status == "ok"
    alphas, distances = naive_scan(x)
    i = fit.n_values - fit.n_tail
    # Two sums of n ≤ 800 non-negative terms differ by at most 2·n·eps relatively.
    assert fit.alpha - 1 == pytest.approx(alphas[i] - 1, rel=1e-12)
    # The exponent of the model, at most n in size, carries the same relative error: n·1e-13 at worst.
    assert fit.ks_distance == pytest.approx(distances[i], abs=1e-10)
    assert fit.ks_distance <= distances.min() + 1e-10
    # The first smallest: nothing before it is smaller by more than rounding.
    assert not (distances[:i] < fit.ks_distance - 1e-10).any()
    assert fit.x_min == np.sort(np.asarray(x, dtype=np.float64))[i]
    assert fit.stderr == (fit.alpha - 1) / math.sqrt(fit.n_tail)


SPECTRA = {
    "pareto": lambda rng: pareto(3.0, 768, 5),
    "lognormal": lambda rng: np.exp(rng.normal(size=768)),
    "marchenko-pastur": lambda rng: np.linalg.svd(rng.normal(size=(200, 500)), compute_uv=False) ** 2,
    "uniform": lambda rng: rng.random(300),
    "steps": lambda rng: np.repeat(rng.pareto(1.5, 60) + 1, 5),
    "tiny": lambda rng: pareto(2.0, 100, 1) * 1e-300,
    "huge range": lambda rng: 10 ** rng.uniform(-305, 305, size=90),
    "subnormal": lambda rng: np.append(rng.random(50) + 1, 5e-324),
    "cluster and outlier": lambda rng: np.append(1 + 1e-9 * rng.random(100), 50.0),
    "outlier below a cluster": lambda rng: np.append(1 + 1e-6 * rng.random(100), 1e-20),
    "just enough": lambda rng: rng.random(MIN_VALUES) + 0.1,
}


@pytest.mark.parametrize("name", SPECTRA)
def test_equals_the_definition(name):
    check_against_twin(SPECTRA[name](np.random.default_rng(3)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(1e-300, 1e300) | st.floats(0.5, 2.0) | st.sampled_from([1.0, 2.0, 3.0]), min_size=8, max_size=60)
)
def test_equals_the_definition_for_any_values(values):
    x = np.array(values)
    if x.max() - x.min() > 1e-3 * x.min():
        check_against_twin(x)
    else:
        assert fit_power_law(x).alpha is None


def test_closed_form_of_two_sizes():
    # Seven ones and one e: Σ ln = 1, so α = 1 + 8 and D = |1 − e^−8 − 7/8| or, among the ones, 6/8. Any later start
    # among the ones has m = 2 … 7, α = 1 + m, and distance (m − 2)/m among the ones against 1 − e^−m − (m − 1)/m at
    # the top: smallest at m = 3, max(1/3, 1/3 − e^−3).
    fit = fit_power_law(np.array([1.0] * 7 + [math.e]))
    assert (fit.n_tail, fit.alpha) == (3, pytest.approx(4.0, rel=1e-14))
    assert fit.ks_distance == pytest.approx(1 / 3, rel=1e-14)


@pytest.mark.parametrize("alpha", [2.0, 3.0, 4.0])
def test_pareto_exponent_is_nearly_unbiased(alpha):
    found = [fit_power_law(pareto(alpha, 768, seed)).alpha for seed in range(1000)]
    # Over 12,000 seeds the bias is 0.0061·(α − 1), and one fit scatters by 0.050·(α − 1): with 1,000 seeds the mean
    # is good to 0.0016·(α − 1).
    assert abs(np.mean(found) - alpha) <= 0.02


def test_interval_covers_the_truth():
    # With x_min chosen by the distance the 95 % interval still holds the truth nearly as often as it says.
    fits = [fit_power_law(pareto(2.5, 768, seed)) for seed in range(300)]
    covered = np.mean([abs(f.alpha - 2.5) <= 1.96 * f.stderr for f in fits])
    # The choice of x_min costs some coverage; 300 trials scatter by 0.02.
    assert 0.80 <= covered <= 0.97


@pytest.mark.parametrize("factor", [1e-6, 1e-290, 3.0, 1e200])
def test_scale_changes_only_x_min(factor):
    x = pareto(2.5, 400, 0)
    one, other = fit_power_law(x), fit_power_law(x * factor)
    # Rounding of x·factor moves each logarithm by at most eps.
    assert other.alpha == pytest.approx(one.alpha, rel=1e-12)
    assert other.ks_distance == pytest.approx(one.ks_distance, rel=1e-12)
    assert (other.n_tail, other.x_min) == (one.n_tail, pytest.approx(one.x_min * factor, rel=1e-15))


def test_powers_scale_the_exponent():
    # x^t has tail exponent 1 + (α − 1)/t, at the same place with the same distance.
    x = pareto(3.0, 500, 2)
    one, other = fit_power_law(x), fit_power_law(x**2.0)
    assert other.alpha - 1 == pytest.approx((one.alpha - 1) / 2, rel=1e-12)
    assert (other.n_tail, other.ks_distance) == (one.n_tail, pytest.approx(one.ks_distance, rel=1e-10))


def test_order_and_container_do_not_matter():
    x = pareto(2.0, 120, 0)
    shuffled = np.random.default_rng(1).permutation(x)
    assert fit_power_law(x) == fit_power_law(shuffled) == fit_power_law(torch.tensor(shuffled).reshape(12, 10))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.arange(1.0, MIN_VALUES), "too few"),
        (np.empty(0), "too few"),
        (np.ones(50), "equal"),
        (1 + 1e-4 * np.random.default_rng(0).random(50), "equal"),
        (np.append(np.arange(1.0, 20), np.nan), "not finite"),
        (np.append(np.arange(1.0, 20), np.inf), "not finite"),
        (np.arange(0.0, 20), "not positive"),
        (np.arange(-5.0, 20), "not positive"),
    ],
)
def test_no_fit_is_a_status_without_numbers(values, reason):
    fit = fit_power_law(values)
    assert reason in fit.status
    assert [fit.alpha, fit.stderr, fit.x_min, fit.ks_distance, fit.n_tail] == [None] * 5
    assert fit.n_values == len(values)


def test_first_of_equal_distances_wins(monkeypatch):
    from deepscope.linalg import _power_law

    monkeypatch.setattr(_power_law, "_distance", lambda *_: 1.0)
    # Every bound is below 1, so that no tail is pruned; all are as good, and the longest comes first.
    assert fit_power_law(pareto(3.0, 200, 0)).n_tail == 200


def test_pruning_leaves_few_tails_to_evaluate(monkeypatch):
    from deepscope.linalg import _power_law

    full = _power_law._distance
    calls = []
    monkeypatch.setattr(_power_law, "_distance", lambda *args: calls.append(args) or full(*args))
    fit_power_law(np.linalg.svd(np.random.default_rng(0).normal(size=(500, 800)), compute_uv=False) ** 2)
    # Of 499 tails: evaluated in full, a tenth of them costs far less than the eigenvalues do.
    assert len(calls) <= 50
