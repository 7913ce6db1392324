"""Other laws of a tail: likelihoods against general optimisers and integrals, and what the comparison says."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expn, log_ndtr

from deepscope.core import UsageError
from deepscope.linalg import _truncated_power_law as cutoff
from deepscope.linalg import compare_tails, fit_power_law
from deepscope.linalg._tail_families import lognormal


def pareto(alpha, n, seed):
    return (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))


def matrix(rng, rows, cols):
    return np.linalg.svd(rng.standard_t(3, size=(rows, cols)), compute_uv=False) ** 2


TAILS = {
    "pareto 2": lambda rng: pareto(2.0, 300, 1),
    "pareto 3": lambda rng: pareto(3.0, 400, 2),
    "exponential": lambda rng: 1 + rng.exponential(size=500),
    "lognormal": lambda rng: np.exp(rng.normal(size=500)),
    "gamma": lambda rng: rng.gamma(3, size=200),
    "cutoff": lambda rng: (lambda x: x[rng.random(x.size) < np.exp(-0.05 * x)])(pareto(1.8, 600, 3)),
    "heavy matrix": lambda rng: matrix(rng, 200, 300),
    "many decades": lambda rng: 10 ** rng.uniform(-100, 100, size=300),
    "close together": lambda rng: 1 + 2e-3 * rng.random(100),
}


@pytest.fixture(params=TAILS)
def tail(request):
    x = TAILS[request.param](np.random.default_rng(4))
    fit = fit_power_law(x)
    z = np.sort(x)[-fit.n_tail :] / fit.x_min
    power = np.log(fit.alpha - 1) - fit.alpha * np.log(z)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {one.name: one for one in compare_tails(x, fit).alternatives}, z, power


def highest(negative, starts):
    """The maximum that a general optimiser finds, from several starts."""
    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 1500}
    return -min(minimize(negative, start, method="Nelder-Mead", options=options).fun for start in starts)


def test_exponential_is_at_its_maximum(tail):
    alternatives, z, power = tail
    found = minimize_scalar(
        lambda s: -stats.expon.logpdf(z - 1, scale=math.exp(s)).sum(),
        bracket=(math.log((z - 1).mean()) - 1, math.log((z - 1).mean()) + 1),
    )
    assert alternatives["exponential"].log_likelihood_ratio == pytest.approx(power.sum() + found.fun, abs=1e-6)


def test_lognormal_is_at_its_maximum(tail):
    alternatives, z, power = tail
    logs = np.log(z)
    size = logs.mean()

    def negative(at):
        mu, sigma = at[0] * size, math.exp(at[1]) * size
        density = -np.square((logs - mu) / sigma) / 2 - math.log(sigma * math.sqrt(2 * math.pi)) - logs
        return -(density - log_ndtr(mu / sigma)).sum()

    best = highest(negative, [(0, 0), (-3, 0.5), (1, -1)])
    one = alternatives["lognormal"]
    if one.status == "ok":
        # Along the flat ridge towards the power law the general optimiser stops early, never too high.
        assert power.sum() - one.log_likelihood_ratio >= best - 1e-6
        at = (one.parameters["mu"] / size, math.log(one.parameters["sigma"] / size))
        assert power.sum() - one.log_likelihood_ratio == pytest.approx(-negative(at), abs=1e-6)
    else:
        assert "the power law itself" in one.status
        # Nothing beats the limit.
        assert best <= power.sum() + 1e-6


def test_truncated_power_law_is_at_its_maximum(tail):
    alternatives, z, power = tail
    logs, excess = np.log(z), z - 1

    def negative(at):
        slope, s = at
        if slope < 0 or not -600 < s < 40:
            return math.inf
        return z.size * -cutoff._law(slope, s).log_likelihood(logs.mean(), excess.mean())

    start = -math.log(excess.mean())
    best = highest(negative, [(0.01, start), (1, start - 3), (3, start - 10)])
    one = alternatives["truncated_power_law"]
    assert one.log_likelihood_ratio <= 1e-9
    # The limit λ = 0 may be the best of all.
    assert power.sum() - one.log_likelihood_ratio == pytest.approx(max(best, power.sum()), abs=1e-6)
    if one.status == "ok":
        assert one.parameters["alpha"] >= 1
        assert one.parameters["rate"] > 0


def test_lognormal_close_to_the_power_law():
    # Quantiles of ln z lack the exponential's end, as a lognormal with its mode far below x_min does.
    logs = -np.log(np.arange(1, 10_001) / 10_001)
    law = lognormal(np.expm1(logs))
    assert law.status == "ok"
    mu, sigma = law.parameters["mu"], law.parameters["sigma"]
    assert mu / sigma < -20
    # Moments of the normal law cut at 0, integrated, are those of the values: the maximum's own condition.
    t = np.linspace(0, 60, 600_001)
    density = np.exp(-(t**2) / (2 * sigma**2) + mu * t / sigma**2)
    for power in (1, 2):
        # The trapezoids' error is h²/12 = 1e-9.
        moment = np.trapezoid(t**power * density, t) / np.trapezoid(density, t)
        assert moment == pytest.approx(np.mean(logs**power), rel=1e-7)


@pytest.mark.parametrize("alpha", [1, 2, 3, 5, 50])
@pytest.mark.parametrize("rate", [1e-300, 1e-12, 1e-3, 0.5, 5.0, 500.0])
def test_norm_is_the_exponential_integral(alpha, rate):
    # ∫_1^∞ x^−α e^(−λ(x−1)) dx = e^λ E_α(λ), which SciPy has for whole α.
    expected = expn(alpha, rate)
    log_norm = cutoff._law(alpha - 1.0, math.log(rate)).log_norm
    assert log_norm == pytest.approx(math.log(expected) + rate, abs=1e-11 * max(1.0, rate))


@pytest.mark.parametrize(("alpha", "rate"), [(1.3, 0.01), (2.7, 0.4), (4.2, 3.0)])
def test_moments_are_those_of_the_density(alpha, rate):
    def moment(f):
        # e^−0.01·5000 = e^−50.
        return quad(lambda t: f(t) * math.exp((1 - alpha) * t - rate * math.expm1(t)), 0, 8.6, epsabs=1e-13)[0]

    law = cutoff._law(alpha - 1, math.log(rate))
    norm = moment(lambda t: 1.0)
    mean_log, mean_v = moment(lambda t: t) / norm, moment(lambda t: rate * math.expm1(t)) / norm
    assert (law.mean_log, law.mean_v) == pytest.approx((mean_log, mean_v), rel=1e-9)
    product = moment(lambda t: t * rate * math.expm1(t)) / norm
    assert law.covariance[0, 1] == pytest.approx(product - mean_log * mean_v, rel=1e-8)


def test_p_values_are_those_of_their_tests(tail):
    alternatives, z, power = tail
    one = alternatives["exponential"]
    differences = power - stats.expon.logpdf(z - 1, scale=(z - 1).mean())
    expected = differences.sum() / (math.sqrt(z.size) * differences.std())
    assert one.normalised_ratio == pytest.approx(expected, rel=1e-9)
    assert one.p_value == pytest.approx(2 * stats.norm.sf(abs(expected)), rel=1e-7)
    one = alternatives["truncated_power_law"]
    assert one.p_value == pytest.approx(stats.chi2.sf(-2 * one.log_likelihood_ratio, 1), rel=1e-7)


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (1 + np.random.default_rng(0).exponential(size=3000), "exponential"),
        (np.exp(1.5 + 0.3 * np.random.default_rng(0).normal(size=3000)), "lognormal"),
    ],
)
def test_planted_laws_win(x, name):
    # The tail of a fit may start where any law is nearly straight; half of the values are not.
    x = np.sort(x)
    x_min = np.median(x)
    z = x[x >= x_min]
    alpha = 1 + z.size / np.log(z / x_min).sum()
    fit = fit_power_law(x)
    planted = type(fit)("ok", x.size, alpha, 0.1, float(z[0]), 0.1, z.size)
    comparison = compare_tails(x, planted)
    assert comparison.best_alternative == name
    assert comparison.best.log_likelihood_ratio < 0
    assert comparison.best.p_value < 1e-3


def test_a_power_law_beats_the_exponential_and_is_not_beaten():
    x = pareto(3.0, 1000, 0)
    comparison = compare_tails(x, fit_power_law(x))
    by_name = {one.name: one for one in comparison.alternatives}
    assert by_name["exponential"].log_likelihood_ratio > 0
    assert by_name["exponential"].p_value < 0.01
    assert comparison.best.p_value > 0.05


def test_best_is_the_likeliest():
    x = np.exp(np.random.default_rng(1).normal(size=300))
    comparison = compare_tails(x, fit_power_law(x))
    ratios = {one.name: one.log_likelihood_ratio for one in comparison.alternatives}
    assert comparison.best_alternative == min(ratios, key=ratios.get)
    assert comparison.best.name == comparison.best_alternative


@pytest.mark.parametrize("factor", [1e-6, 1e-250, 1e200])
def test_scale_changes_nothing(factor):
    x = np.exp(np.random.default_rng(1).normal(size=300))
    one, other = (compare_tails(values, fit_power_law(values)) for values in (x, factor * x[::-1]))
    assert one.best_alternative == other.best_alternative
    for mine, scaled in zip(one.alternatives, other.alternatives, strict=True):
        # Rounding of factor · x moves each logarithm by an eps, and a ratio by at most n·α·eps; the maxima are found to
        # 1e-10, the parameters to the root of that.
        assert scaled.log_likelihood_ratio == pytest.approx(mine.log_likelihood_ratio, abs=1e-8)
        assert scaled.parameters == pytest.approx(mine.parameters, rel=1e-4)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.ones(50), "equal"),
        (np.arange(5.0), "too few values for a fit"),
        (np.append(1 + 1e-9 * np.random.default_rng(0).random(100), 50.0), "too few values in the tail"),
        (10 ** np.linspace(-200, 200, 12), "308 decades"),
    ],
)
def test_what_cannot_be_compared_says_why(x, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison = compare_tails(x, fit_power_law(x))
    assert reason in comparison.status
    assert (comparison.alternatives, comparison.best_alternative, comparison.best) == ((), None, None)


def test_a_maximum_that_was_not_found_is_a_status(monkeypatch):
    monkeypatch.setattr(cutoff, "_MAX_STEPS", 1)
    x = np.exp(np.random.default_rng(1).normal(size=300))
    comparison = compare_tails(x, fit_power_law(x))
    one = comparison.alternatives[0]
    assert "not found" in one.status
    assert (one.log_likelihood_ratio, one.p_value) == (None, None)
    assert comparison.best_alternative in ("lognormal", "exponential")


def test_the_fit_of_other_values_is_refused():
    with pytest.raises(UsageError, match="not one of these values"):
        compare_tails(pareto(3.0, 50, 0), fit_power_law(pareto(3.0, 50, 1)))
