"""Mutual information by counting, of variables whose information is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import binned, binned_information, codes_of
from deepscope.linalg._binned_information import _plug_in


def twin(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, term by term, over pairs of values."""
    total, n = 0.0, len(x)
    for a, b in itertools.product(set(x.tolist()), set(y.tolist())):
        both = np.sum((x == a) & (y == b)) / n
        if both:
            total += both * math.log2(both / (np.mean(x == a) * np.mean(y == b)))
    return total


def gaussian(rng: np.random.Generator, n: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=n)
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n)


def test_it_is_the_definition_and_that_of_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 300)
    y = (x + rng.integers(0, 3, 300)) % 4
    found = binned_information(x, y, permutations=19)
    assert found.bits == pytest.approx(twin(x, y), abs=1e-12)
    assert found.bits == pytest.approx(mutual_info_score(x, y) / math.log(2), abs=1e-12)


def test_of_a_channel_whose_information_is_known() -> None:
    """A bit that is flipped with probability 0.1 keeps 1 − H(0.1) bits; counts are exact."""
    x = np.repeat([0, 0, 1, 1], [450, 50, 50, 450])
    y = np.repeat([0, 1, 0, 1], [450, 50, 50, 450])
    known = 1 + 0.1 * math.log2(0.1) + 0.9 * math.log2(0.9)
    found = binned_information(x, y)
    assert found.bits == pytest.approx(known, abs=1e-12)
    assert (found.ceiling, found.status, found.beats_null) == (1.0, "ok", True)


def test_bins_are_equal_and_hold_their_ends() -> None:
    values = np.array([-5.0, 0.0, 0.24, 0.25, 0.99, 1.0, 7.0])
    assert binned(values, 4, (0.0, 1.0)).tolist() == [0, 0, 0, 1, 2, 2, 2]
    # Bins 0, 0, 0, 1, 3, 3, 3, numbered by those that are there.
    assert binned(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), 30).tolist() == [0, 1, 0]
    assert binned(torch.full((4, 3), 2.5)).tolist() == [0, 0, 0, 0]
    assert codes_of(torch.tensor([3, 1, 3])).tolist() == [1, 0, 1]


def test_a_bijection_saturates_at_log_n_as_bins_become_narrow() -> None:
    x = np.random.default_rng(0).random(256)
    bits = [binned_information(x, np.exp(x), bins=bins, permutations=19).bits for bins in (8, 16, 10**6)]
    assert bits[0] < bits[1] < bits[2]
    found = binned_information(x, np.exp(x), bins=10**6, permutations=19)
    assert found.bits == pytest.approx(8, abs=1e-12)
    assert found.ceiling == 8
    assert found.status == "saturated: all 256 values of x differ"
    # What has nothing to do with it seems to hold as much: that is what saturation means.
    assert not found.beats_null
    assert found.null_mean == pytest.approx(8, abs=1e-12)


def test_the_bias_is_that_of_miller_where_counts_are_large() -> None:
    rng = np.random.default_rng(0)
    n, draws = 400, 300
    bits = np.array([_plug_in(rng.integers(0, 4, n), rng.integers(0, 6, n)) for _ in range(draws)])
    known = 3 * 5 / (2 * n * math.log(2))
    found = binned_information(rng.integers(0, 4, n), rng.integers(0, 6, n), permutations=19)
    assert found.bias == pytest.approx(known)
    # The spread of χ²₁₅ over 2n ln 2: √30 of it, over 300 draws; four standard errors, and a tenth for the next order.
    assert bits.mean() == pytest.approx(known, abs=4 * math.sqrt(30 / draws) / (2 * n * math.log(2)) + 0.1 * known)


@pytest.mark.parametrize(("rho", "bias"), [(0.0, 0.42), (0.5, 0.37), (0.9, 0.17), (0.99, -0.18)])
def test_the_bias_of_thirty_bins_is_as_the_docstring_says(rho: float, bias: float) -> None:
    rng = np.random.default_rng(1)
    bits = [binned_information(*gaussian(rng, 1000, rho), permutations=19).bits for _ in range(20)]
    # A standard deviation of 0.05 over 20 draws, four times.
    assert np.mean(bits) + 0.5 * math.log2(1 - rho**2) == pytest.approx(bias, abs=0.045)


def test_what_goes_through_a_chain_is_never_more_than_before() -> None:
    """X → Y → Z: exact for the plug-in estimate where Z is a function of Y, whatever the samples."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 8, 200)
    y = (x + rng.integers(0, 4, 200)) % 8
    first, second = (binned_information(x, z, permutations=19).bits for z in (y, y // 2))
    assert second < first


def test_few_samples_of_many_values_are_said_to_be_too_few() -> None:
    rng = np.random.default_rng(3)
    found = binned_information(rng.integers(0, 40, 200), rng.integers(0, 10, 200))
    assert found.status.startswith("undersampled")
    assert not found.beats_null
    # 330 of 400 pairs hold one or two: half of the samples seem to tell more.
    assert found.half_bits > found.bits > 0.5


def test_wrong_use_is_a_clear_error() -> None:
    x = np.zeros(10)
    with pytest.raises(UsageError, match="10 and 9 samples"):
        binned_information(x, x[1:])
    with pytest.raises(UsageError, match="95 % quantile"):
        binned_information(x, x, permutations=18)
    with pytest.raises(UsageError, match="at least one bin"):
        binned(x, 0)
    with pytest.raises(UsageError, match="lower to the upper"):
        binned(x, 3, (1.0, 0.0))
    with pytest.raises(UsageError, match="not finite"):
        binned(np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="matrix"):
        binned_information(np.float64(1), np.float64(1))
