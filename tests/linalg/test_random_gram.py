"""Spectra drawn from the bidiagonal model against those of dense matrices."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from deepscope.linalg import gram_eigenvalues, random_gram_eigenvalues

SHAPES = [(1, 1), (1, 7), (2, 3), (30, 30), (20, 90), (90, 20)]


def dense(rows, cols, rng, n):
    return np.array([gram_eigenvalues(rng.standard_normal((rows, cols))) for _ in range(n)])


@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_has_the_law_of_dense_draws(rows, cols):
    n = 1500
    ours = random_gram_eigenvalues(rows, cols, np.random.default_rng(0), n)
    theirs = dense(rows, cols, np.random.default_rng(1), n)
    assert ours.shape == theirs.shape == (n, min(rows, cols))
    # Fixed draws: 1e-3 is what a wrong law would have to hide behind.
    assert ks_2samp(ours[:, -1], theirs[:, -1]).pvalue > 1e-3
    assert ks_2samp(ours[:, 0], theirs[:, 0]).pvalue > 1e-3
    assert ks_2samp(ours.sum(axis=1), theirs.sum(axis=1)).pvalue > 1e-3
    # Pooled eigenvalues repel each other: they scatter less than independent values, and the test is conservative.
    assert ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-3


def test_another_shape_is_told_apart():
    ours = random_gram_eigenvalues(30, 31, np.random.default_rng(0), 1500)
    theirs = dense(30, 30, np.random.default_rng(1), 1500)
    assert ks_2samp(ours[:, 0], theirs[:, 0]).pvalue < 1e-6
    assert ks_2samp(ours.sum(axis=1), theirs.sum(axis=1)).pvalue < 1e-6


def test_same_generator_same_draws_in_order():
    first, second = (random_gram_eigenvalues(40, 25, np.random.default_rng(3), 4) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.all(np.diff(first, axis=1) >= 0)
    assert first.min() >= 0
