"""The Gaussian filter: its definition and limits, waves, white noise in closed form, scales."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.linalg import filter_widths, gaussian_filter, squared_distances


def scattered(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_it_is_its_definition() -> None:
    x, y = scattered(6, 3), scattered(6, 2, seed=1)
    found = gaussian_filter(squared_distances(x), 0.8)
    for i in range(6):
        weights = [math.exp(-sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) / (2 * 0.64)) for j in range(6)]
        expected = sum(w * y[j] for j, w in enumerate(weights)) / sum(weights)
        np.testing.assert_allclose(found.low(y)[i], expected, rtol=1e-12)
    np.testing.assert_allclose(found.low(y) + found.high(y), y, rtol=1e-12, atol=1e-15)


def test_from_each_point_to_the_mean() -> None:
    squared, y = squared_distances(scattered(20, 2)), scattered(20, 1, seed=1)
    nothing, everything = gaussian_filter(squared, 0.0), gaussian_filter(squared, math.inf)
    np.testing.assert_array_equal(nothing.low(y), y)
    np.testing.assert_allclose(everything.low(y), np.full_like(y, y.mean()), rtol=1e-12)
    assert (nothing.neighbours, everything.neighbours) == (1, pytest.approx(20))
    assert (nothing.white_share, everything.white_share) == (pytest.approx(1), pytest.approx(0, abs=1e-15))
    # Narrow and wide ones lead there.
    np.testing.assert_allclose(gaussian_filter(squared, 1e-3).low(y), y, atol=1e-12)
    np.testing.assert_allclose(gaussian_filter(squared, 1e5).low(y), np.full_like(y, y.mean()), atol=1e-8)
    neighbours = [gaussian_filter(squared, width).neighbours for width in (0.1, 0.3, 1.0, 3.0)]
    assert neighbours == sorted(neighbours)


@pytest.mark.parametrize("frequency", [1, 3, 6])
def test_a_wave_keeps_the_gaussians_transform_of_its_amplitude(frequency: int) -> None:
    """On a circle of circumference 1, arcs as distances; exp(−2π²δ²f²) but for what wraps around: e^(−1/(8δ²))."""
    t = np.arange(256) / 256
    arcs = np.abs(np.subtract.outer(t, t))
    arcs = np.minimum(arcs, 1 - arcs)
    y = np.cos(2 * np.pi * frequency * t)
    kept = gaussian_filter(arcs**2, 0.05).low(y)
    np.testing.assert_allclose(kept, math.exp(-2 * math.pi**2 * 0.05**2 * frequency**2) * y, atol=1e-9)


def test_white_noise_leaves_its_closed_form() -> None:
    """The mean over all 720 orders of any values, exactly."""
    found = gaussian_filter(squared_distances(scattered(6, 2)), 0.7)
    y = scattered(6, 3, seed=1)
    y = y - y.mean(axis=0)
    shares = [np.sum(found.low(y[list(order)]) ** 2) for order in itertools.permutations(range(6))]
    assert np.mean(shares) / np.sum(y**2) == pytest.approx(found.white_share, rel=1e-12)
    assert gaussian_filter(np.zeros((1, 1)), 1.0).white_share == 0


def test_distances_and_width_have_one_scale() -> None:
    x, y = scattered(15, 4), scattered(15, 1, seed=1)
    one, other = gaussian_filter(squared_distances(x), 0.9), gaussian_filter(squared_distances(100 * x), 90)
    np.testing.assert_allclose(one.low(y), other.low(y), rtol=1e-9)
    np.testing.assert_allclose(
        100 * np.array(filter_widths(squared_distances(x))), filter_widths(squared_distances(100 * x))
    )


def test_widths_go_from_the_nearest_to_all() -> None:
    x = scattered(50, 3)
    squared = squared_distances(x)
    widths = filter_widths(squared, 5)
    apart = np.sqrt(squared)
    np.fill_diagonal(apart, np.inf)
    assert widths[0] == pytest.approx(np.median(apart.min(axis=1)) / 2)
    assert widths[-1] == pytest.approx(np.median(apart[np.isfinite(apart)]) / 2)
    np.testing.assert_allclose(np.diff(np.log(widths)), np.log(widths[-1] / widths[0]) / 4, rtol=1e-9)


def test_points_that_coincide() -> None:
    x = np.repeat(scattered(5, 2), 2, axis=0)
    assert filter_widths(squared_distances(x)) == pytest.approx(filter_widths(squared_distances(x[::2])), rel=0.3)
    assert filter_widths(np.zeros((4, 4))) == ()
    # With no width at all a point is averaged with those that coincide with it.
    np.testing.assert_allclose(gaussian_filter(squared_distances(x), 0.0).low(np.arange(10.0))[:2], 0.5)


def test_distances_are_those_of_the_points_and_zero_where_they_coincide() -> None:
    x = 1e3 + scattered(12, 9000)
    x[7] = x[2]
    found = squared_distances(x)
    expected = np.sum((x[:, None] - x[None, :]) ** 2, axis=-1)
    # Centred values of order 1, sums of 9,000 products, in double precision.
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)
    assert found[7, 2] == found[2, 7] == 0
    np.testing.assert_array_equal(found, found.T)
    parts = squared_distances([x[:, :10].reshape(12, 2, 5), x[:, 10:]])
    np.testing.assert_allclose(parts, found, rtol=1e-10, atol=1e-9)


def test_what_is_no_distance_or_width_is_refused() -> None:
    for wrong in (np.zeros((2, 3)), np.zeros(4), np.zeros((0, 0))):
        with pytest.raises(UsageError, match="matrix"):
            gaussian_filter(wrong, 1.0)
    with pytest.raises(UsageError, match="from 0 on"):
        gaussian_filter(np.full((2, 2), np.nan), 1.0)
    for width in (-1.0, math.nan):
        with pytest.raises(UsageError, match="width"):
            gaussian_filter(np.zeros((2, 2)), width)
    with pytest.raises(UsageError, match="widths"):
        filter_widths(np.zeros((2, 2)), 0)
