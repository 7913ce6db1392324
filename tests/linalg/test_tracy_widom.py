"""The Tracy–Widom law against its differential equation, its published moments and its quantiles."""

import math
from functools import cache

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import airy

from deepscope.core import UsageError
from deepscope.linalg import tracy_widom_cdf, tracy_widom_quantile, tracy_widom_sf
from deepscope.linalg._tracy_widom import log_tail, tail_curvature


@cache
def painleve(points):
    """TW₁ by Tracy & Widom's own formula, which shares nothing with the determinant.

    q″ = s·q + 2q³ with q ~ Ai at +∞, and F(s) = exp(−½ ∫ₛ^∞ (q + (x − s)·q²) dx), integrated downwards. The solution
    is unstable towards −∞: from s = 6 with 1e-13 it is good to 1e-7 down to −6.
    """
    start = 6.0
    # ∫ q² and ∫ (x − s)·q² and ∫ q from the start to ∞, where q is Ai to 1e-13.
    tails = [quad(f, start, 30, epsabs=1e-18)[0] for f in (lambda x: airy(x)[0] ** 2,)]
    tails.append(quad(lambda x: (x - start) * airy(x)[0] ** 2, start, 30, epsabs=1e-20)[0])
    tails.append(quad(lambda x: airy(x)[0], start, 30, epsabs=1e-18)[0])

    def slope(s, y):
        q, dq, square, _, _ = y
        return [dq, s * q + 2 * q**3, -(q**2), -square, -q]

    ordered = sorted(points, reverse=True)
    value, derivative = airy(start)[:2]
    solution = solve_ivp(
        slope, (start, ordered[-1]), [value, derivative, *tails], "DOP853", ordered, rtol=1e-12, atol=1e-16
    )
    _, _, _, double, single = solution.y
    return dict(zip(ordered, np.exp(-0.5 * (double + single)), strict=True))


def test_is_the_solution_of_painleves_equation():
    points = tuple(np.linspace(-6, 5, 45))
    expected = painleve(points)
    # The equation is good to 1e-7 here, the spline to 1e-9.
    assert tracy_widom_cdf(points) == pytest.approx([expected[s] for s in points], abs=1e-6)
    # Right of the middle the tail itself: 1 − F is 2e-5 at 5, and the equation's own error 1e-11.
    right = [s for s in points if s > -1]
    assert tracy_widom_sf(right) == pytest.approx([1 - expected[s] for s in right], rel=1e-5)


def bornemann(s, n=60):
    """det(I − K) with the kernel ½·Ai((x + y)/2) on (s, s + 32), by plain elimination."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    x, w = s + 16 * (nodes + 1), np.sqrt(16 * weights)
    return np.linalg.det(np.eye(n) - w[:, None] * airy((x[:, None] + x) / 2)[0] / 2 * w)


@pytest.mark.parametrize("s", [-8.9, -4.13, -1.27, 0.0, 0.98, 2.02, 3.27])
def test_is_bornemanns_determinant(s):
    # An elimination leaves 1e-15·n; the spline 1e-9.
    assert float(tracy_widom_cdf(s)) == pytest.approx(bornemann(s), abs=1e-9)


@pytest.mark.parametrize("s", [6.0, 8.0, 12.9, 13.1, 20.0, 40.0])
def test_far_tail_is_the_trace(s):
    # 1 − F = ½ ∫ₛ^∞ Ai up to a relative error of its own size, 5e-6 at 6; the series beyond 13 is good to 1e-4.
    trace = 0.5 * quad(lambda x: airy(x)[0], s, s + 20 / math.sqrt(s), epsabs=0)[0]
    assert float(tracy_widom_sf(s)) == pytest.approx(trace, rel=1e-5 if s < 13 else 1e-4)


def test_moments_are_the_published_ones():
    # Bornemann (2010): mean −1.2065335745820, variance 1.607781034581. From the integral of the tail, by parts.
    mean = quad(lambda x: float(tracy_widom_sf(x)), 0, 20)[0] - quad(lambda x: float(tracy_widom_cdf(x)), -9, 0)[0]
    second = quad(lambda x: 2 * x * float(tracy_widom_sf(x)), 0, 20)[0]
    second -= quad(lambda x: 2 * x * float(tracy_widom_cdf(x)), -9, 0)[0]
    assert mean == pytest.approx(-1.2065335745820, abs=1e-8)
    assert second - mean**2 == pytest.approx(1.607781034581, abs=1e-7)


@pytest.mark.parametrize(
    ("p", "quantile"),
    # The tables of R's RMTstat, to four places.
    [(0.05, -3.1804), (0.5, -1.2686), (0.95, 0.9793), (0.99, 2.0234), (0.999, 3.2722)],
)
def test_quantiles_are_the_published_ones(p, quantile):
    assert tracy_widom_quantile(p) == pytest.approx(quantile, abs=6e-5)


@pytest.mark.parametrize("p", [1e-12, 1e-6, 0.3, 0.999, 1 - 1e-8, 1 - 2.0**-53])
def test_quantile_inverts_the_law(p):
    tail = float(tracy_widom_sf(tracy_widom_quantile(p)))
    # The left tail is good to the determinant's rounding, the right one to the quantile's 1e-12.
    assert tail == pytest.approx(1 - p, rel=1e-9, abs=1e-15)


def test_is_a_distribution_function():
    x = np.linspace(-30, 120, 3001)
    cdf, tail = tracy_widom_cdf(x), tracy_widom_sf(x)
    # Where the law is flat the spline ripples by its own error.
    assert np.diff(cdf).min() > -1e-9
    assert np.diff(tail).max() < 1e-9
    assert [cdf[0], tail[0], cdf[-1], tail[-1]] == pytest.approx([0, 1, 1, 0], abs=1e-15)
    assert cdf + tail == pytest.approx(np.ones(x.size), abs=1e-15)


@pytest.mark.parametrize("x", [-4.0, -1.0, 1.0, 6.0, 12.9, 13.2, 30.0])
def test_curvature_of_the_tail_is_its_second_difference(x):
    step = 0.01
    low, middle, high = np.exp(log_tail([x - step, x, x + step]) - log_tail(x))
    # A second difference is good to step²/12 of the fourth derivative (x² of the tail), and to 1e-16/step².
    assert float(tail_curvature(x)) == pytest.approx((high + low - 2 * middle) / step**2, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(UsageError, match="between 0 and 1"):
        tracy_widom_quantile(p)
