"""Mean-field theory: closed forms, an independent quadrature, theorems on the maps, and wide random networks."""

import math

import numpy as np
import pytest
from scipy.special import erf

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import infinite_width_kernel, mean_field

#: φ and φ′.
ACTIVATIONS = {
    "tanh": (np.tanh, lambda h: 1 / np.cosh(h) ** 2),
    "erf": (erf, lambda h: 2 / math.sqrt(math.pi) * np.exp(-(h**2))),
    "identity": (lambda h: h, np.ones_like),
}
POINTS = [(1.0, 0.05), (1.5, 0.3), (1.85, 0.05), (2.5, 0.05), (4.0, 0.05), (3.0, 0.0)]


def expect(function, variance, correlation, nodes=401):
    """E[f(u) f(v)] by a trapezoid rule on a square: the naive twin."""
    points = np.linspace(-9, 9, nodes)
    a, b = np.meshgrid(points, points, indexing="ij")
    density = np.exp(-(a**2 + b**2) / 2) * (points[1] - points[0]) ** 2 / (2 * np.pi)
    u = math.sqrt(variance) * a
    v = math.sqrt(variance) * (correlation * a + math.sqrt(1 - correlation**2) * b)
    return float((function(u) * function(v) * density).sum())


@pytest.mark.parametrize("activation", ["tanh", "erf"])
@pytest.mark.parametrize(("weights", "biases"), POINTS)
def test_fixed_points_and_slopes_are_those_of_an_independent_quadrature(activation, weights, biases):
    phi, slope = ACTIVATIONS[activation]
    found = mean_field(activation, weights, biases)
    q, c = found.variance, found.correlation
    # A trapezoid rule is exact to rounding for functions this smooth: 160,000 terms.
    assert weights * expect(phi, q, 1.0) + biases == pytest.approx(q, rel=1e-10)
    assert (weights * expect(phi, q, c) + biases) / q == pytest.approx(c, abs=1e-10)
    assert found.chi1 == pytest.approx(weights * expect(slope, q, 1.0), rel=1e-10)
    assert found.chi == pytest.approx(weights * expect(slope, q, c), rel=1e-10)
    step = 1e-4
    rise = (expect(phi, q + step, 1.0) - expect(phi, q - step, 1.0)) / (2 * step)
    # A central difference is off by step² times the third derivative, of order 1.
    assert found.variance_slope == pytest.approx(weights * rise, abs=1e-6)
    for start in (-0.7, 0.0, 0.3, 0.999):
        assert found.next_correlation(start) == pytest.approx((weights * expect(phi, q, start) + biases) / q, abs=1e-10)


@pytest.mark.parametrize(("weights", "biases"), POINTS)
def test_erf_has_closed_forms(weights, biases):
    """E[φ(u)φ(v)] = 2/π arcsin(2qc/(1 + 2q)), E[φ′(u)φ′(v)] = 4/π / √((1 + 2q)² − 4q²c²)."""
    found = mean_field("erf", weights, biases)
    q, c = found.variance, found.correlation
    assert q == pytest.approx(weights * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + biases, rel=1e-11)
    assert c == pytest.approx((weights * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)) + biases) / q, abs=1e-10)
    assert found.chi1 == pytest.approx(weights * 4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-11)
    expected = weights * 4 / math.pi / math.sqrt((1 + 2 * q) ** 2 - 4 * q**2 * c**2)
    assert found.chi == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("weights", "biases"), [(1.0, 0.5), (1.9, 0.1), (2.0, 0.0)])
def test_relu_has_closed_forms(weights, biases):
    """Half of a Gaussian passes: q* = σ_b²/(1 − σ_w²/2), χ₁ = σ_w²/2; c goes by the arc-cosine kernel."""
    found = mean_field("relu", weights, biases)
    # Settled to a relative 1e-14 per layer, which a slope of 0.95 makes 20 times as much.
    assert found.variance == pytest.approx(biases / (1 - weights / 2) if biases else 1.0, rel=1e-12)
    assert (found.chi1, found.variance_slope) == pytest.approx((weights / 2, weights / 2), rel=1e-12)
    assert found.correlation == 1
    for c in (-0.9, 0.0, 0.4, 0.99):
        angle = math.acos(c)
        product = found.variance / (2 * math.pi) * (math.sin(angle) + (math.pi - angle) * c)
        assert found.next_correlation(c) == pytest.approx((weights * product + biases) / found.variance, abs=1e-12)
    assert found.correlation_depth == (pytest.approx(-1 / math.log(weights / 2)) if weights < 2 else math.inf)


def test_a_linear_network_has_closed_forms():
    """q* = σ_b²/(1 − σ_w²), and every slope is σ_w²: c′ − 1 = σ_w² (c − 1)."""
    found = mean_field("identity", 0.8, 0.3)
    assert found.variance == pytest.approx(1.5, rel=1e-12)
    assert (found.chi1, found.chi, found.variance_slope) == pytest.approx((0.8, 0.8, 0.8), rel=1e-12)
    assert found.correlation_depth == pytest.approx(-1 / math.log(0.8), rel=1e-11)
    assert found.variance_depth == pytest.approx(found.correlation_depth, rel=1e-11)
    np.testing.assert_allclose(1 - found.correlations(0.25, 30), 0.75 * 0.8 ** np.arange(31), rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_deep_kernels_of_infinite_width_follow_the_maps(activation):
    """The same recursion, coded from closed forms; at depth 40 its kernel has forgotten the inputs' size."""
    weights, biases = (1.6, 0.2) if activation == "relu" else (2.5, 0.1)
    found = mean_field(activation, weights, biases)
    kernels = [
        infinite_width_kernel(np.array([[1.0, 0.2], [0.3, -1.1]]), None, depth, activation, weights, biases).nngp
        for depth in (150, 151)
    ]
    cosine, following = (kernel[0, 1] / math.sqrt(kernel[0, 0] * kernel[1, 1]) for kernel in kernels)
    # Differences have fallen by at least 0.85^150 = 3e-11.
    assert kernels[0][0, 0] == pytest.approx(found.variance, rel=1e-9)
    assert following == pytest.approx(found.next_correlation(cosine), abs=1e-9)
    assert cosine == pytest.approx(found.correlation, abs=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "erf"])
def test_order_ends_where_a_second_fixed_point_appears(activation):
    """Theorem: c* < 1 if and only if χ₁ > 1; the map's slope at c* is below 1 on both sides."""
    found = [mean_field(activation, weights, 0.05) for weights in (0.5, 0.8, 3.5, 5.0)]
    assert {each.chi1 > 1 for each in found} == {True, False}
    for each in found:
        assert (each.correlation < 1) == (each.chi1 > 1)
        assert each.chi < 1
        assert each.chi == each.chi1 or each.chi1 > 1
        # 100 steps at a slope of at most 0.88: 3e-6.
        assert each.chi < 0.88
        for start in (0.0, 0.9):
            assert each.correlations(start, 100)[-1] == pytest.approx(each.correlation, abs=1e-5)


def test_the_depth_grows_without_bound_towards_the_edge():
    """Both branches of ξ_c diverge as 1/|χ₁ − 1|: the product tends to 1 in order, to 1 in chaos as well."""
    for weights in (1.75, 1.7605, 1.765, 1.77):
        found = mean_field("tanh", weights, 0.05)
        # In chaos 1 − χ ≈ χ₁ − 1 to first order; the next order is of the size of χ₁ − 1 = 0.002 times some units.
        assert found.correlation_depth * abs(found.chi1 - 1) == pytest.approx(1, abs=0.05)


def test_without_biases_odd_activations_forget_all_correlation_in_chaos():
    found = mean_field("tanh", 2.0)
    assert found.correlation == 0
    assert found.chi < 1 < found.chi1
    np.testing.assert_allclose(found.correlations(-0.5, 20), -found.correlations(0.5, 20), rtol=0, atol=1e-12)


def test_a_wide_network_does_as_predicted():
    """One layer of 200,000 units, given two inputs of variance q* and correlation ½: a mean over units."""
    rng, n = np.random.default_rng(0), 200_000
    found = mean_field("tanh", 2.5, 0.05)
    common, own = rng.standard_normal(n), rng.standard_normal((2, n))
    u, v = math.sqrt(found.variance) * (math.sqrt(0.5) * common + math.sqrt(0.5) * own)
    values = {
        "variance": 2.5 * np.tanh(u) ** 2 + 0.05,
        "product": 2.5 * np.tanh(u) * np.tanh(v) + 0.05,
        "chi1": 2.5 / np.cosh(u) ** 4,
    }
    expected = {
        "variance": found.variance,
        "product": found.variance * found.next_correlation(0.5),
        "chi1": found.chi1,
    }
    for name, each in values.items():
        # Four standard errors, some 0.003.
        assert each.mean() == pytest.approx(expected[name], abs=4 * each.std() / math.sqrt(n)), name


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"activation": "tan"}, "unknown activation"),
        ({"weight_variance": 0.0}, "this is 0"),
        ({"weight_variance": math.inf}, "this is inf"),
        ({"weight_variance": math.nan}, "this is nan"),
        ({"bias_variance": -0.1}, "this is -0.1"),
        ({"bias_variance": math.nan}, "this is nan"),
    ],
)
def test_what_is_refused(asked, what):
    with pytest.raises(UsageError, match=what):
        mean_field(**{"activation": "tanh", "weight_variance": 1.0, "bias_variance": 0.1, **asked})


@pytest.mark.parametrize(
    ("activation", "weights", "biases", "what"),
    [
        ("tanh", 0.5, 0.0, "tends to 0"),
        ("relu", 1.9, 0.0, "tends to 0"),
        ("relu", 2.1, 0.1, "tends to infinity"),
        ("identity", 1.0, 0.1, "has not settled"),
    ],
)
def test_where_there_is_no_fixed_point_it_says_so(activation, weights, biases, what):
    with pytest.raises(MeasurementError, match=what):
        mean_field(activation, weights, biases)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_correlations_before_the_variance_has_settled_are_those_of_the_kernels(activation):
    """Two inputs whose first layer has q = 1.7 and c = 0.2 in both, by kernels of one to five layers."""
    weights, biases = 1.6, 0.2
    found = mean_field(activation, weights, biases)
    product, own = (0.2 * 1.7 - biases) / weights, (1.7 - biases) / weights
    x = np.linalg.cholesky(2 * np.array([[own, product], [product, own]]))
    kernels = [infinite_width_kernel(x, None, depth, activation, weights, biases).nngp for depth in range(6)]
    cosines = [kernel[0, 1] / kernel[0, 0] for kernel in kernels]
    np.testing.assert_allclose(found.correlations(0.2, 5, 1.7), cosines, rtol=0, atol=1e-12)
    variances = [1.7]
    for _ in range(5):
        variances.append(found.next_variance(variances[-1]))
    np.testing.assert_allclose(variances, [kernel[0, 0] for kernel in kernels], rtol=1e-12)


@pytest.mark.parametrize("asked", [{"start": 1.1}, {"start": -1.1}, {"start": math.nan}, {"variance": 0.0}], ids=str)
def test_what_is_no_start_is_refused(asked):
    with pytest.raises(UsageError, match="this is"):
        mean_field("tanh", 1.5, 0.1).correlations(**{"start": 0.5, "depth": 3, **asked})
