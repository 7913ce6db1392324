"""Quality metrics of spectra against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepscope.core import MeasurementError
from deepscope.linalg import log_alpha_norm, matrix_entropy, unit_determinant_tail


def test_entropy_of_equal_values_is_one_and_scale_does_not_matter() -> None:
    assert matrix_entropy(np.full(7, 3.0)) == pytest.approx(1, abs=1e-14)
    values = np.array([0.0, 1.0, 2.0, 5.0])
    p = np.array([1, 2, 5]) / 8
    assert matrix_entropy(values) == pytest.approx(-(p * np.log(p)).sum() / math.log(3), abs=1e-14)
    assert matrix_entropy(1e-30 * values) == pytest.approx(matrix_entropy(values), abs=1e-14)


def test_entropy_of_one_direction_does_not_exist() -> None:
    assert matrix_entropy(np.array([0.0, 0.0, 4.0])) is None


@pytest.mark.parametrize("alpha", [1.5, 2.0, 90.0])
def test_alpha_norm_is_the_sum_of_powers(alpha: float) -> None:
    values = np.array([0.0, 0.5, 3.0, 3.0])
    twin = math.log10(math.fsum(value**alpha for value in values if value))
    assert log_alpha_norm(values, alpha) == pytest.approx(twin, abs=1e-12)
    # λ → cλ adds α log c, also where the powers themselves would overflow.
    assert log_alpha_norm(1e200 * values, alpha) == pytest.approx(twin + 200 * alpha, rel=1e-12)


def test_unit_determinant_of_two_levels() -> None:
    """k values of a and the rest of b: the product of the largest passes 1 where k ln ã + j ln b̃ changes its sign."""
    values = np.array([0.1] * 90 + [10.0] * 10)
    mean = values.mean()
    j = math.floor(10 * math.log(10 / mean) / -math.log(0.1 / mean))
    assert unit_determinant_tail(values) == 10 + j
    rng = np.random.default_rng(0)
    for scale in (1e-12, 1.0, 1e12):
        assert unit_determinant_tail(scale * rng.permutation(values)) == 10 + j


def test_unit_determinant_against_products() -> None:
    for seed in range(20):
        values = np.random.default_rng(seed).pareto(2.0, size=40) + 1
        scaled = np.sort(values / values.mean())[::-1]
        products = [math.prod(scaled[: k + 1]) for k in range(40)]
        assert unit_determinant_tail(values) == max(k + 1 for k in range(40) if products[k] >= 1)


def test_equal_values_multiply_to_one_all_together() -> None:
    assert unit_determinant_tail(np.full(300, 0.7)) == 300


@pytest.mark.parametrize("measure", [matrix_entropy, unit_determinant_tail, lambda values: log_alpha_norm(values, 2.0)])
def test_zeros_have_nothing_to_measure(measure) -> None:
    with pytest.raises(MeasurementError, match="zeros"):
        measure(np.zeros(4))
