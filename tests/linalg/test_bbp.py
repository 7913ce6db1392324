"""Spikes planted in noise against the limit of Benaych-Georges & Nadakuditi."""

import math

import numpy as np
import pytest

from deepscope.linalg import (
    bbp_eigenvalue,
    bbp_threshold,
    mp_edges,
    spike_overlap,
    spike_strength,
    tracy_widom_scale,
)

SIGMA = 0.3


def unit(n, rng):
    vector = rng.standard_normal(n)
    return vector / np.linalg.norm(vector)


def planted(rows, cols, times, seed):
    """Return largest eigenvalue and both squared overlaps of one spike of so many times the threshold."""
    rng = np.random.default_rng(seed)
    theta = times * bbp_threshold(rows, cols, SIGMA**2)
    u, v = unit(rows, rng), unit(cols, rng)
    W = theta * np.outer(u, v) + SIGMA * rng.standard_normal((rows, cols))
    left, singular, right = np.linalg.svd(W, full_matrices=False)
    return singular[0] ** 2, (left[:, 0] @ u) ** 2, (right[0] @ v) ** 2


@pytest.mark.parametrize(("rows", "cols"), [(200, 160), (120, 480), (480, 120)])
@pytest.mark.parametrize("times", [1.5, 2.0, 3.2])
def test_planted_spikes_lie_where_the_limit_says(rows, cols, times):
    n = 40
    draws = np.array([planted(rows, cols, times, seed) for seed in range(n)])
    theta = times * bbp_threshold(rows, cols, SIGMA**2)
    variance = SIGMA**2
    # To Tracy–Widom accuracy: the mean lies within one scale, n^{1/3}, of a place of size n. A single eigenvalue
    # scatters as √n, the mean of 40 by a sixth of that.
    spread = np.std(draws[:, 0]) / math.sqrt(n)
    place = bbp_eigenvalue(theta, rows, cols, variance)
    assert np.mean(draws[:, 0]) == pytest.approx(place, abs=variance * tracy_widom_scale(rows, cols) + 3 * spread)
    # Fluctuations are 1/√n of a spike this far out, the bias 1/n.
    expected = spike_overlap(theta, rows, cols, variance)
    assert draws[:, 1:].mean(axis=0) == pytest.approx(expected, abs=0.02 if times > 1.6 else 0.05)


@pytest.mark.parametrize(("rows", "cols"), [(300, 200), (80, 640)])
def test_weak_spike_leaves_the_edge_alone(rows, cols):
    draws = np.array([planted(rows, cols, 0.5, seed) for seed in range(20)])
    edge = bbp_eigenvalue(0.5 * bbp_threshold(rows, cols, SIGMA**2), rows, cols, SIGMA**2)
    assert edge == mp_edges(rows, cols, SIGMA**2)[1]
    # TW₁ has mean −1.2 and standard deviation 1.3: 20 draws place it within 0.3.
    height = np.mean(draws[:, 0] - edge) / (SIGMA**2 * tracy_widom_scale(rows, cols))
    assert -2.4 < height < 0
    # No direction: a random one has an overlap of 1/n.
    assert draws[:, 1:].mean() < 0.05
    assert spike_overlap(0.5 * bbp_threshold(rows, cols, SIGMA**2), rows, cols, SIGMA**2) == (0.0, 0.0)


@pytest.mark.parametrize(("rows", "cols"), [(1, 5), (100, 100), (64, 6400)])
@pytest.mark.parametrize("times", [1.01, 2.0, 1e3])
def test_strength_inverts_the_place(rows, cols, times):
    theta = times * bbp_threshold(rows, cols, 0.09)
    found = spike_strength(bbp_eigenvalue(theta, rows, cols, 0.09), rows, cols, 0.09)
    # Beside the threshold the place is flat: rounding eps comes back as √eps/1e-2.
    assert found == pytest.approx(theta, rel=1e-8 if times > 1.5 else 1e-6)


def test_nothing_jumps_at_the_threshold():
    rows, cols = 50, 70
    theta = bbp_threshold(rows, cols, 0.09) * (1 + 1e-9)
    edge = mp_edges(rows, cols, 0.09)[1]
    assert bbp_eigenvalue(theta, rows, cols, 0.09) == pytest.approx(edge, rel=1e-12)
    assert spike_overlap(theta, rows, cols, 0.09) == pytest.approx((0.0, 0.0), abs=1e-8)
    assert spike_strength(edge, rows, cols, 0.09) is None
    assert spike_strength(0.5 * edge, rows, cols, 0.09) is None


def test_sides_change_places_with_the_vectors():
    left, right = spike_overlap(9.0, 30, 70, 0.25)
    assert spike_overlap(9.0, 70, 30, 0.25) == (right, left)
    # A spike of infinite strength is seen as it is.
    assert spike_overlap(1e6, 30, 70, 0.25) == pytest.approx((1.0, 1.0), abs=1e-9)


def test_is_the_formula_of_unit_aspect():
    # λ = (1 + θ²)(c + θ²)/θ² for entries of variance 1/cols and c = rows/cols.
    assert bbp_eigenvalue(1.7, 40, 100, 1 / 100) == pytest.approx((1 + 1.7**2) * (0.4 + 1.7**2) / 1.7**2)
