"""The random-matrix null against integrals, limits and simulation."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from deepscope.core import UsageError
from deepscope.linalg import (
    count_spikes,
    gram_eigenvalues,
    mp_cdf,
    mp_distance,
    mp_distance_limit,
    mp_edges,
    mp_median,
    mp_variance,
    random_gram_eigenvalues,
    tracy_widom_centre,
    tracy_widom_quantile,
    tracy_widom_scale,
    tracy_widom_threshold,
)

SHAPES = [(100, 100), (100, 130), (64, 640), (640, 64), (1, 50), (768, 50_000)]


def gaussian(rows, cols, seed, sigma=1.0):
    return sigma * np.random.default_rng(seed).normal(size=(rows, cols))


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_cdf_is_the_integral_of_the_density(rows, cols):
    variance = 0.3
    low, high = mp_edges(rows, cols, variance)
    short = min(rows, cols)

    def density(x):
        return math.sqrt(max((high - x) * (x - low), 0.0)) / (2 * math.pi * variance * short * x)

    for part in (0.1, 0.5, 0.9):
        x = low + part * (high - low)
        # Quadrature reaches about 1e-9 beside the square-root edges; for β = 1/50,000 the closed form loses eps/β.
        area = quad(density, low, x, limit=500, epsabs=1e-10)[0]
        assert mp_cdf(x, rows, cols, variance) == pytest.approx(area, abs=1e-7)
    assert mp_cdf([low * 0.999 - 1e-12, low, high, high * 2], rows, cols, variance) == pytest.approx([0, 0, 1, 1])


def test_median_of_a_square_matrix_is_the_published_one():
    # Gavish & Donoho (2014): the hard threshold 2.858 is (4/√3) / √μ with μ the median at β = 1.
    assert 4 / math.sqrt(3) / math.sqrt(mp_median(1000, 1000) / 1000) == pytest.approx(2.858, abs=5e-4)


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_median_halves_the_law(rows, cols):
    assert mp_cdf(mp_median(rows, cols), rows, cols, 1.0) == pytest.approx(0.5, abs=1e-9)
    assert mp_median(rows, cols) == mp_median(cols, rows)


@pytest.mark.parametrize(("rows", "cols"), [(200, 200), (150, 400), (400, 150)])
def test_edges_of_gaussian_matrices(rows, cols):
    sigma = 0.05
    centre = sigma**2 * tracy_widom_centre(rows, cols)
    scale = sigma**2 * tracy_widom_scale(rows, cols)
    heights, variances = [], []
    for seed in range(60):
        eigenvalues = gram_eigenvalues(gaussian(rows, cols, seed, sigma))
        heights.append((eigenvalues[-1] - centre) / scale)
        variances.append(mp_variance(eigenvalues, rows, cols))
    # TW₁ has mean −1.21 and standard deviation 1.27: 60 draws place the mean within 0.16, five times that is 0.8;
    # its 1e-6 quantiles are −6.0 and 7.6.
    assert np.mean(heights) == pytest.approx(-1.21, abs=0.8)
    assert np.std(heights) == pytest.approx(1.27, abs=0.6)
    assert min(heights) > -6.0
    assert max(heights) < 7.6
    # The eigenvalue spacing at the median of a square matrix is 1/(0.36·200) of 0.65, that is 2 %, and the median
    # moves by less than one spacing: each within five of them, the mean of 60 within 1 %.
    assert np.mean(variances) == pytest.approx(sigma**2, rel=0.01)
    assert variances == pytest.approx([sigma**2] * 60, rel=0.1)


@pytest.mark.parametrize("shape", [(16, 16), (64, 16), (64, 1024), (200, 200)])
def test_threshold_is_passed_as_often_as_it_says(shape):
    n = 4000
    largest = random_gram_eigenvalues(*shape, np.random.default_rng(0), n)[:, -1]
    for level in (0.5, 0.95, 0.99, 0.999):
        passed = np.mean(largest > tracy_widom_threshold(*shape, 1.0, level))
        # 20,000 draws of each shape show the second order's own error to be within a tenth of the rate; four standard
        # deviations of the count, and one more draw as it is skew at the last level.
        assert abs(passed - (1 - level)) <= 0.1 * (1 - level) + 4 * math.sqrt((1 - level) / n) + 1 / n


def test_centre_without_the_halves_is_worse():
    # 16 × 64: with the limit's edge 42 % of draws pass the median and with Johnstone's constants 47 %.
    largest = random_gram_eigenvalues(16, 64, np.random.default_rng(0), 4000)[:, -1]
    median = tracy_widom_quantile(0.5) * tracy_widom_scale(16, 64)
    # 4,000 draws place the rate within 0.8 %.
    assert np.mean(largest > tracy_widom_centre(16, 64) + median) == pytest.approx(0.5, abs=0.02)
    assert np.mean(largest > mp_edges(16, 64, 1.0)[1] + median) < 0.45
    assert np.mean(largest > (math.sqrt(63) + math.sqrt(16)) ** 2 + median) < 0.485


def test_centre_and_scale_are_mas():
    # √4 and √9 for 4.5 × 9.5, which no matrix has: 25 and 5·(1/2 + 1/3)^⅓.
    assert tracy_widom_centre(4.5, 9.5) == 25.0
    assert tracy_widom_scale(4.5, 9.5) == pytest.approx(5 * (5 / 6) ** (1 / 3))


def test_strong_signal_does_not_raise_its_own_null():
    noise = gaussian(200, 300, 0)
    signal = noise + 100 * np.outer(np.ones(200), np.ones(300)) / math.sqrt(200 * 300)
    clean, spiked = (mp_variance(gram_eigenvalues(each), 200, 300) for each in (noise, signal))
    # One eigenvalue of 200 leaves the bulk: the median moves by one place, 1/200 of the law.
    assert spiked == pytest.approx(clean, rel=0.02)


def test_more_than_half_zeros_have_no_variance():
    assert mp_variance(np.array([0.0, 0.0, 0.0, 1.0, 2.0]), 5, 9) == 0.0


def test_units_scale_with_the_variance():
    assert np.array(mp_edges(30, 70, 4.0)) == pytest.approx(4 * np.array(mp_edges(30, 70, 1.0)))
    assert tracy_widom_threshold(30, 70, 4.0) == pytest.approx(4 * tracy_widom_threshold(30, 70, 1.0))
    assert mp_edges(30, 70, 1.0) == mp_edges(70, 30, 1.0)
    assert tracy_widom_scale(30, 70) == pytest.approx(tracy_widom_scale(70, 30))


def distances(rows, cols, n_matrices, draws):
    """How far the noise below its spikes is from the law, in units of the limit."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        values = np.sort(random_gram_eigenvalues(rows, cols, rng, n_matrices).ravel())
        spikes = count_spikes(values, rows, cols, n_matrices)
        found.append(mp_distance(values[: values.size - spikes.count], rows, cols, spikes.variance))
    return np.array(found) / mp_distance_limit(rows, cols, n_matrices)


@pytest.mark.parametrize(
    ("shape", "n_matrices", "draws"),
    [
        ((16, 16), 1, 3000),
        ((64, 16), 1, 3000),
        ((64, 64), 1, 2000),
        ((128, 256), 1, 1000),
        ((16, 16), 9, 2000),
        ((64, 64), 25, 400),
        # Kernels of 7 × 7 on colours, and the groups of a grouped convolution.
        ((64, 3), 49, 1000),
        ((16, 16), 288, 200),
    ],
)
def test_noise_is_farther_from_the_law_than_the_limit_in_one_draw_of_a_thousand(shape, n_matrices, draws):
    found = distances(*shape, n_matrices, draws)
    # Half a percent at most; a rate of 1 in 1,000 gives 3 in 200, or 15 in 3,000, with a probability below 0.2 %.
    assert np.mean(found > 1) <= 0.005
    # And not because the limit is far away.
    assert np.mean(found > 0.4) > 0.5


@pytest.mark.parametrize("n_matrices", [1, 9])
def test_what_is_no_noise_is_farther_from_the_law(n_matrices):
    # Columns of falling strength, from 1 down to a fifth.
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((n_matrices, 64, 64)) * np.linspace(1, 0.2, 64)
    values = np.sort(np.concatenate([gram_eigenvalues(each) for each in matrices]))
    variance = float(np.mean(matrices**2))
    assert mp_distance(values, 64, 64, variance) > mp_distance_limit(64, 64, n_matrices)


@pytest.mark.parametrize("level", [0.0, 1.0, 99.0])
def test_level_that_is_no_probability_is_refused(level):
    with pytest.raises(UsageError, match="between 0 and 1"):
        tracy_widom_threshold(10, 10, 1.0, level)
