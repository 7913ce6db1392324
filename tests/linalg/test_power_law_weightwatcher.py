"""WeightWatcher's rule for small samples against a twin written from its description; the peer itself is in verify."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.linalg import fit_power_law, fit_power_law_weightwatcher


def twin(values):
    """Return x_min, exponent, standard error and distance, tail by tail."""
    x = sorted(value for value in values if value > 1e-5)
    found = []
    for i in range(len(x)):
        tail = x[i:]
        m = len(tail)
        if m < 8:
            break
        alpha = 1 + (m - 1) / sum(np.log(each / x[i]) for each in tail)
        distance = max(abs(1 - (each / x[i]) ** (1 - alpha) - j / m) for j, each in enumerate(tail))
        found.append((distance, i, alpha, m))
    distance, i, alpha, m = min(found)
    return x[i], alpha, (alpha - 1) / m**0.5, distance, m


@pytest.mark.parametrize("n", [8, 9, 13, 19])
def test_small_samples(n):
    for seed in range(10):
        values = np.random.default_rng(seed).pareto(1.5, size=n) + 0.01
        fit = fit_power_law_weightwatcher(values)
        found = (fit.x_min, fit.alpha, fit.stderr, fit.ks_distance, fit.n_tail)
        assert found == pytest.approx(twin(values), rel=1e-12)


def test_twenty_values_are_fitted_as_usual_and_the_cut_is_absolute():
    values = np.random.default_rng(0).pareto(1.5, size=20) + 0.01
    assert fit_power_law_weightwatcher(values) == fit_power_law(values)
    with_rounding = np.append(values, [1e-6, 1e-5, 0.0])
    assert fit_power_law_weightwatcher(with_rounding) == fit_power_law(values)
    # A small layer falls below the cut: the reason why deepscope's own cut is relative.
    assert fit_power_law_weightwatcher(1e-6 * values).status.startswith("too few values")


def test_what_has_no_tail_gets_a_status():
    assert "equal" in fit_power_law_weightwatcher(np.full(12, 2.0)).status
    assert "too few" in fit_power_law_weightwatcher(np.arange(1.0, 8.0)).status
    # All of every tail equal but for one small value: only the whole has an exponent.
    assert fit_power_law_weightwatcher(np.array([0.5] + [1.0] * 9)).n_tail == 10
