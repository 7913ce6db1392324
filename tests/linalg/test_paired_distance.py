"""Distances of pairs beside those of rows that are no pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import paired_distance


def naive(a: np.ndarray, b: np.ndarray) -> float:
    n = len(a)
    pairs = [float(((a[i] - b[i]) ** 2).sum()) for i in range(n)]
    others = [float(((a[i] - b[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j]
    return float(np.mean(pairs) / np.mean(others))


def related(n: int, d: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, d))
    return a, 0.7 * a + 0.4 * rng.normal(size=(n, d)) + shift


@pytest.mark.parametrize(("n", "d", "shift"), [(2, 1, 0.0), (7, 3, 0.0), (12, 40, 2.0), (30, 2, 1e5)])
def test_is_the_mean_over_all_pairs(n: int, d: int, shift: float) -> None:
    a, b = related(n, d, n, shift)
    # Sums of n·d terms in float64; a mean of 1e5 takes five digits of each difference.
    assert paired_distance(a, b).value == pytest.approx(naive(a, b), rel=1e-13 * max(1.0, shift))
    assert paired_distance(torch.tensor(a), b).value == paired_distance(a, b).value


def test_is_one_minus_the_concordance_correlation() -> None:
    a, b = related(4000, 1, 0, 0.5)
    x, y = a[:, 0], b[:, 0]
    concordance = 2 * np.cov(x, y)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    # They differ by what one pair in n weighs.
    assert paired_distance(a, b).value == pytest.approx(1 - concordance, abs=2 / 4000)


@pytest.mark.parametrize("n", [3, 10])
def test_is_one_in_expectation_where_rows_are_unrelated(n: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4000, n, 6)), 3 * rng.normal(size=(4000, n, 6)) + 1
    pairs = ((a - b) ** 2).sum(axis=2).mean(axis=1)
    values = np.array([paired_distance(x, y).value for x, y in zip(a, b, strict=True)])
    # The ratio of means; a mean of ratios has a bias of order 1/n.
    unrelated = float((pairs / values).mean())
    assert pairs.mean() / unrelated == pytest.approx(1, abs=4 * pairs.std() / pairs.mean() / np.sqrt(4000))


def test_bounds_and_symmetries() -> None:
    a, b = related(20, 5, 1, 0.3)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    value = paired_distance(a, b).value
    assert paired_distance(b, a).value == pytest.approx(value, rel=1e-13)
    assert paired_distance(4 * a @ turn + 7, 4 * b @ turn + 7).value == pytest.approx(value, rel=1e-12)
    assert paired_distance(a, a).value == 0
    # The opposite of centred rows is at 4‖a‖², rows that are no pair at 2‖a‖²; less the pairs themselves.
    centred = a - a.mean(axis=0)
    assert paired_distance(centred, -centred).value == pytest.approx(2 * 19 / 18, rel=1e-12)
    # A difference of means alone leaves pairs no nearer than others.
    assert paired_distance(a, b + 1e6).value == pytest.approx(1, abs=1e-4)


def test_standard_error_is_that_of_the_jackknife_and_of_repeated_samples() -> None:
    a, b = related(200, 3, 3)
    found = paired_distance(a, b)
    assert found.influences.shape == (200,)
    assert abs(found.influences.sum()) < 1e-10
    without = np.array([paired_distance(np.delete(a, i, 0), np.delete(b, i, 0)).value for i in range(200)])
    jackknife = np.sqrt(199 / 200 * ((without - without.mean()) ** 2).sum())
    # Both are exact to first order in 1/n.
    assert found.stderr == pytest.approx(jackknife, rel=0.03)
    repeated = [paired_distance(*related(200, 3, seed)).value for seed in range(400)]
    # The standard deviation of 400 values is known to 1/√800 = 3.5 %; three of them.
    assert found.stderr == pytest.approx(np.std(repeated), rel=0.25)
    errors = [paired_distance(*related(200, 3, seed)).stderr for seed in range(50)]
    assert np.mean(errors) == pytest.approx(np.std(repeated), rel=0.11)


def test_scale_magnifies_rounding() -> None:
    a, _ = related(50, 4, 5)
    a = a + 100
    error = 1e-6
    noise = np.random.default_rng(0).choice([-1.0, 1.0], size=a.shape) * error
    found = paired_distance(a * (1 + noise), a)
    # ‖a − b‖ = error · ‖a‖, and scale holds ‖a‖² twice.
    assert found.value == pytest.approx(error**2 * found.scale / 2, rel=1e-5)


def test_there_is_none_where_nothing_differs() -> None:
    one = np.ones((5, 3))
    assert paired_distance(one, one) is None
    assert paired_distance(one, 2 * one) is None
    assert paired_distance(one[:1], one[:1]) is None
    nearly = one + 1e-9 * np.random.default_rng(0).normal(size=(5, 3))
    assert paired_distance(nearly, nearly).value == 0
    assert paired_distance(nearly, nearly, resolution=1e-8) is None


def test_rows_must_belong_together() -> None:
    with pytest.raises(UsageError, match="rows of two arrays"):
        paired_distance(np.ones((3, 2)), np.ones((4, 2)))
