"""Centred kernel alignment against matrices written down, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import cka


def written_down(x: np.ndarray, y: np.ndarray, *, unbiased: bool) -> float:
    """HSIC from whole kernels: of distinct samples alone as the unbiased estimate's definition has it."""

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        n = len(a)
        K, L = a @ a.T, b @ b.T
        if not unbiased:
            H = np.eye(n) - 1 / n
            return float(np.trace(K @ H @ L @ H)) / (n - 1) ** 2
        np.fill_diagonal(K, 0)
        np.fill_diagonal(L, 0)
        one = np.ones(n)
        terms = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        return float(terms - 2 * (one @ K @ L @ one) / (n - 2)) / (n * (n - 3))

    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("n", "d", "e"), [(5, 3, 2), (40, 7, 90), (60, 200, 3), (1500, 4, 1100)])
def test_it_is_that_of_whole_kernels(n: int, d: int, e: int, unbiased: bool) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, d)) + 0.5
    y = np.tanh(x @ rng.normal(size=(d, e))) + 0.3 * rng.normal(size=(n, e))
    expected = written_down(x, y, unbiased=unbiased)
    # Float64 sums of n² products that cancel to no less than a hundredth of their size.
    assert cka(x, y, unbiased=unbiased) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert cka(y, x, unbiased=unbiased) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_hsic_of_four_samples_is_the_mean_over_all_draws_without_replacement() -> None:
    """The definition behind the unbiased estimate: quadruples of distinct samples, each as likely."""
    from itertools import permutations

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))

    def by_draws(a: np.ndarray, b: np.ndarray) -> float:
        K, L = a @ a.T, b @ b.T
        draws = [K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in permutations(range(6), 4)]
        return float(np.mean(draws))

    expected = by_draws(x, y) / np.sqrt(by_draws(x, x) * by_draws(y, y))
    assert cka(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("unbiased", [True, False])
def test_rotations_scales_and_shifts_change_nothing_and_other_maps_do(unbiased: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 12)), rng.normal(size=(80, 12))
    y[:, :4] += 2 * x[:, :4]
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    before = cka(x, y, unbiased=unbiased)
    for factor in (1e-200, 1e-6, 1e200):
        assert cka(factor * x @ rotation, y + 5, unbiased=unbiased) == pytest.approx(before, rel=1e-9)
    assert cka(x, x @ rotation, unbiased=unbiased) == pytest.approx(1, rel=1e-12)
    assert abs(cka(x * np.linspace(0.1, 3, 12), y, unbiased=unbiased) - before) > 0.02
    order = rng.permutation(80)
    assert cka(x[order], y[order], unbiased=unbiased) == pytest.approx(before, rel=1e-9)
    assert cka(x[order], y, unbiased=unbiased) < before / 2


def test_independent_representations_have_none_however_wide() -> None:
    """Of 60 samples with 500 features each; the biased estimate sees nearly the same kernel."""
    draws = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(60, 500)), rng.normal(size=(60, 500))
        draws.append((cka(x, y), cka(x, y, unbiased=False)))
    unbiased, biased = np.array(draws).T
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(len(draws))
    assert unbiased.std() < 0.05
    assert biased.min() > 0.5


def test_tensors_feature_maps_and_half_precision_are_taken() -> None:
    x = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    y = x.flatten(1)[:, ::2]
    expected = cka(x.flatten(1).double().numpy(), y.double().numpy())
    assert cka(x.requires_grad_(), y) == pytest.approx(expected, rel=1e-12)
    # Rounding of the values themselves: 2⁻⁸ of each, of 48 columns.
    assert cka(x.bfloat16(), y.bfloat16()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("x", "y", "what"),
    [
        (np.ones((5, 2)), np.random.default_rng(0).normal(size=(5, 2)), "same for all samples"),
        (1e8 + np.zeros((50, 3)), np.random.default_rng(0).normal(size=(50, 2)), "same for all samples"),
        (np.eye(6), np.random.default_rng(0).normal(size=(6, 2)), "equally unlike"),
        (np.zeros((5, 0)), np.ones((5, 2)), "same for all samples"),
        (np.array([[1.0], [np.nan], [0.0], [2.0]]), np.ones((4, 1)), "not finite"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "cannot be compared"),
        (np.zeros((5, 2)), np.zeros((6, 2)), "5 and 6 samples"),
        (np.float64(3), np.zeros((6, 2)), "matrix"),
    ],
)
def test_what_has_no_alignment_is_refused(x: np.ndarray, y: np.ndarray, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        cka(x, y)
