"""The null, the standard error and the stated biases of information estimates, over many draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from deepscope.linalg import (
    InformationEstimate,
    binned_information,
    ksg_information,
    label_information,
    renyi_information,
)

pytestmark = pytest.mark.verify

DRAWS = 2000
Draw = Callable[[np.random.Generator], InformationEstimate]


def gaussian(rng: np.random.Generator, n: int, d: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(n, d))


def labelled(rng: np.random.Generator, n: int, d: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, d)) + apart * y[:, None], y


INDEPENDENT: dict[str, Draw] = {
    "bins": lambda rng: binned_information(*gaussian(rng, 40, 1, 0.0), bins=6, permutations=19, rng=rng),
    "trees": lambda rng: ksg_information(*gaussian(rng, 40, 1, 0.0), permutations=19, rng=rng),
    "neighbours": lambda rng: ksg_information(*gaussian(rng, 40, 5, 0.0), permutations=39, rng=rng),
    "labels": lambda rng: label_information(*labelled(rng, 40, 3, 0.0), permutations=19, rng=rng),
    "Rényi": lambda rng: renyi_information(*gaussian(rng, 30, 2, 0.0), permutations=19, rng=rng),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_the_null_holds_independent_variables_in_95_percent(name: str) -> None:
    rng = np.random.default_rng(0)
    beaten = np.mean([INDEPENDENT[name](rng).beats_null for _ in range(DRAWS)])
    # Exactly one in twenty, but for ties of counts, which make it less; three binomial standard errors of 0.5 %.
    assert beaten <= 0.05 + 0.015
    assert name == "bins" or beaten >= 0.05 - 0.015


def test_a_quantile_of_the_null_without_the_estimate_would_be_beaten_too_often() -> None:
    """NumPy's 95 % quantile of 19 orders lies below the largest of them."""
    rng, beaten = np.random.default_rng(1), 0
    for _ in range(DRAWS):
        values = rng.normal(size=20)
        beaten += values[0] > np.quantile(values[1:], 0.95)
    assert beaten / DRAWS > 0.065


@pytest.mark.parametrize(
    ("d", "rho", "n"), [(1, 0.0, 200), (1, 0.9, 200), (1, 0.99, 200), (2, 0.5, 200), (5, 0.5, 200)]
)
def test_the_standard_error_of_neighbours_is_the_spread_over_draws(d: int, rho: float, n: int) -> None:
    rng = np.random.default_rng(2)
    found = [ksg_information(*gaussian(rng, n, d, rho), permutations=19, rng=rng) for _ in range(300)]
    spread = np.std([each.bits for each in found])
    error = math.sqrt(np.mean([each.stderr**2 for each in found]))
    # A spread of 300 draws is known to 4 %; halves are as good as independent to some 20 %.
    assert error == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize(("d", "apart"), [(1, 0.0), (1, 1.0), (4, 1.0), (10, 0.5)])
def test_the_standard_error_with_labels_is_the_spread_over_draws(d: int, apart: float) -> None:
    rng = np.random.default_rng(3)
    found = [label_information(*labelled(rng, 200, d, apart), permutations=19, rng=rng) for _ in range(300)]
    spread = np.std([each.bits for each in found])
    error = math.sqrt(np.mean([each.stderr**2 for each in found]))
    assert error == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize(
    ("d", "rho", "bias"),
    [
        (1, 0.0, 0.0), (1, 0.5, 0.01), (1, 0.9, 0.02), (1, 0.99, 0.02), (2, 0.9, -0.04), (2, 0.99, -0.43),
        (3, 0.5, -0.05), (5, 0.5, -0.26), (10, 0.5, -1.07), (20, 0.5, -2.99),
    ],
)  # fmt: skip
def test_the_bias_table_of_neighbours(d: int, rho: float, bias: float) -> None:
    rng = np.random.default_rng(4)
    draws = 60 if d == 1 else 24
    bits = [ksg_information(*gaussian(rng, 1000, d, rho), permutations=19, rng=rng).bits for _ in range(draws)]
    truth = -0.5 * d * math.log2(1 - rho**2)
    # Standard deviations of at most 0.07, four standard errors, and the table's own error of 0.01.
    assert np.mean(bits) - truth == pytest.approx(bias, abs=4 * 0.07 / math.sqrt(draws) + 0.01)


@pytest.mark.parametrize(("d", "bits"), [(1, 0.50), (10, 0.46), (20, 0.40), (50, 0.34)])
def test_the_bias_with_labels(d: int, bits: float) -> None:
    """Two Gaussian classes at ±1 in the first coordinate share 0.486 bits."""
    rng, found = np.random.default_rng(5), []
    for _ in range(16):
        y = np.arange(1000) % 2
        x = rng.normal(size=(1000, d))
        x[:, 0] += 2 * y - 1
        found.append(label_information(x, y, permutations=19, rng=rng).bits)
    # A standard deviation of 0.035, four standard errors, and the last digit.
    assert np.mean(found) == pytest.approx(bits, abs=4 * 0.035 / 4 + 0.005)
