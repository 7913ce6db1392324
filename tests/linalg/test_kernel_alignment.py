"""Centred alignment: its definition, its invariances, its null, and its standard error."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.linalg import centred_kernel, kernel_alignment


def kernel(n: int, features: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, features))
    return x @ x.T


def test_it_is_its_definition() -> None:
    K, L = kernel(12, 3, 0), kernel(12, 5, 1)
    H = np.eye(12) - 1 / 12
    K_c, L_c = H @ K @ H, H @ L @ H
    np.testing.assert_allclose(centred_kernel(K), K_c, atol=1e-12)
    expected = np.trace(K_c @ L_c) / np.sqrt(np.trace(K_c @ K_c) * np.trace(L_c @ L_c))
    found = kernel_alignment(K, L)
    assert found.value == pytest.approx(expected, rel=1e-12)
    # A leave-one-out jackknife, by hand.
    without = [kernel_alignment(*(np.delete(np.delete(M, i, 0), i, 1) for M in (K, L))).value for i in range(12)]
    assert found.stderr == pytest.approx(np.sqrt(11 / 12 * np.sum((without - np.mean(without)) ** 2)), rel=1e-10)


def test_scales_and_shifts_of_features_do_not_matter() -> None:
    K, L = kernel(20, 3, 0), kernel(20, 4, 1)
    assert kernel_alignment(5 * K + 3, L + 100).value == pytest.approx(kernel_alignment(K, L).value, rel=1e-9)


def test_labels_of_clusters_stand_above_the_null_and_random_labels_do_not() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(30) % 3
    Y = np.eye(3)[classes]
    x = rng.normal(size=(30, 4)) + 3 * rng.normal(size=(3, 4))[classes]
    found = kernel_alignment(x @ x.T, Y @ Y.T)
    assert found.value > 3 * found.null_high
    above = 0
    for _ in range(100):
        Y = np.eye(3)[rng.permutation(classes)]
        found = kernel_alignment(x @ x.T, Y @ Y.T, permutations=100, rng=rng)
        above += found.value > found.null_high
    # Binomial with 5 % of 100: 12 or more come in one of 230 runs.
    assert above < 12


def test_what_cannot_be_compared() -> None:
    assert kernel_alignment(np.ones((5, 5)), kernel(5, 2, 0)) is None
    assert kernel_alignment(kernel(5, 2, 0), np.zeros((5, 5))) is None
    assert kernel_alignment(kernel(3, 2, 0), kernel(3, 2, 1)).stderr is None
    with pytest.raises(UsageError, match="other samples"):
        kernel_alignment(kernel(5, 2, 0), kernel(6, 2, 0))
