"""The bootstrap of an exponent: its definition, what it does not depend on, and values without a tail."""

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.linalg import bootstrap_alpha, fit_power_law


def pareto(alpha, n, seed):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def test_is_the_quantiles_of_single_fits():
    x = np.sort(pareto(2.5, 200, 0))
    interval = bootstrap_alpha(x, n_bootstrap=60, rng=np.random.default_rng(1))
    drawn = np.random.default_rng(1).integers(200, size=(60, 200))
    alphas = [fit_power_law(x[row]).alpha for row in drawn]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(alphas, [0.025, 0.975])), rel=1e-12)
    assert (interval.status, interval.n_bootstrap, interval.n_failed) == ("ok", 60, 0)


def test_powers_and_scales_move_it_exactly():
    # So that its coverage of Pareto values is the same for every α.
    x = pareto(3.0, 150, 2)
    one, other = (bootstrap_alpha(values, rng=np.random.default_rng(0)) for values in (x, 1e-6 * x**2.0))
    for end in ("low", "high"):
        # Rounding of x² moves each logarithm by an eps.
        assert getattr(other, end) - 1 == pytest.approx((getattr(one, end) - 1) / 2, rel=1e-11)


def test_one_table_of_resamples_is_not_needed(monkeypatch):
    from deepscope.linalg import _alpha_interval

    x = pareto(3.0, 150, 2)
    one = bootstrap_alpha(x, rng=np.random.default_rng(0))
    monkeypatch.setattr(_alpha_interval, "_BLOCK", 64 * 150)
    assert bootstrap_alpha(x, rng=np.random.default_rng(0)) == one


def test_order_does_not_matter():
    x = pareto(3.0, 150, 2)
    assert bootstrap_alpha(x, rng=np.random.default_rng(0)) == bootstrap_alpha(x[::-1], rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("values", "reason"), [(np.ones(50), "equal"), (np.arange(5.0), "too few"), (np.arange(50.0), "not positive")]
)
def test_values_without_a_fit_have_no_interval(values, reason):
    interval = bootstrap_alpha(values, rng=np.random.default_rng(0))
    assert reason in interval.status
    assert (interval.low, interval.high) == (None, None)


def test_resamples_without_a_tail_are_counted():
    # A single value differs: 1/e of the resamples miss it, and have no tail.
    interval = bootstrap_alpha(np.append(np.ones(30), 2.0), rng=np.random.default_rng(0))
    assert "resamples have no tail" in interval.status
    # 200/e = 74 are expected, with a standard deviation of 7.
    assert 46 <= interval.n_failed <= 102
    assert interval.low is None


def test_a_few_resamples_without_a_tail_are_left_out():
    # Four values differ: a share (27/31)^31 ≈ 1.4 % of the resamples misses them all.
    interval = bootstrap_alpha(
        np.append(np.ones(27), [2.0, 3.0, 4.0, 5.0]), n_bootstrap=400, rng=np.random.default_rng(0)
    )
    assert interval.status == "ok"
    assert 1 <= interval.n_failed <= 15
    assert interval.low < interval.high


def test_too_few_resamples_are_refused():
    with pytest.raises(UsageError, match="at least 40"):
        bootstrap_alpha(pareto(3.0, 50, 0), n_bootstrap=39, rng=np.random.default_rng(0))
