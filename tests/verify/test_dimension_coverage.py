"""The interval of the intrinsic dimension over many draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_intrinsic_dimension import sphere, torus

from deepscope.linalg import intrinsic_dimension

pytestmark = pytest.mark.verify

DRAWS = 2000
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def gaussian(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.normal(size=(n, d))


def covered(draw: Draw, n: int, d: int, draws: int = DRAWS) -> float:
    rng = np.random.default_rng(n + d)
    found = [intrinsic_dimension(draw(rng, n, d)) for _ in range(draws)]
    return float(np.mean([each.low <= d <= each.high for each in found]))


@pytest.mark.parametrize(
    ("draw", "n", "d"),
    [(torus, 50, 1), (torus, 50, 2), (sphere, 200, 1), (sphere, 200, 2), (sphere, 200, 3), (gaussian, 500, 5)],
)
def test_the_interval_holds_the_dimension_in_95_percent(draw: Draw, n: int, d: int) -> None:
    assert 0.93 <= covered(draw, n, d) <= 0.97


def test_as_if_ratios_were_independent_it_would_hold_too_rarely() -> None:
    rng = np.random.default_rng(0)
    logs = [np.log(intrinsic_dimension(sphere(rng, 200, 2)).dimension / 2) for _ in range(DRAWS)]
    # Three binomial standard errors of 0.7 %.
    assert np.mean(np.abs(logs) < 1.96 / np.sqrt(200)) == pytest.approx(0.88, abs=0.022)


def test_a_bias_is_outside_of_the_interval() -> None:
    """To 500 points a torus of five circles is curved as far as a neighbour is away: it looks like 5.3 dimensions."""
    assert covered(torus, 500, 5, 300) < 0.9
