"""Barriers of losses that are given: both definitions, and the interval's coverage in a case with a closed form."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.instruments._barrier import barrier
from deepscope.instruments._paired import paired_interval, standard_error

T = np.linspace(0, 1, 5)


def of(*losses: float) -> object:
    return barrier(T, np.array(losses)[:, None] * np.ones(3), np.ones(3), np.random.default_rng(0), resamples=20)


def test_a_hill_between_equal_ends() -> None:
    found = of(1.0, 2.0, 4.0, 2.0, 1.0)
    assert (found.height, found.above_chord, found.at) == (3.0, 3.0, 0.5)
    # Units that do not differ leave nothing to chance.
    assert (found.low, found.high) == (3.0, 3.0)


def test_a_slope_rises_above_the_mean_of_its_ends_and_not_above_their_line() -> None:
    found = of(1.0, 2.0, 3.0, 4.0, 5.0)
    assert (found.height, found.above_chord, found.at) == (2.0, 0.0, 1.0)


def test_a_valley_has_no_barrier() -> None:
    found = of(1.0, 0.5, 0.2, 0.5, 1.0)
    assert (found.height, found.above_chord) == (0.0, 0.0)


def test_units_weigh_by_their_terms_and_those_without_any_do_not() -> None:
    values = np.array([[0.0, 0.0, np.nan], [3.0, 6.0, np.nan], [0.0, 0.0, np.nan]])
    found = barrier(np.linspace(0, 1, 3), values, np.array([2.0, 1.0, 0.0]), np.random.default_rng(0), 200)
    assert found.height == pytest.approx(4.0)
    assert (found.low, found.high) == (3.0, 6.0)


def test_resampled_units_weigh_by_their_terms() -> None:
    counts = np.repeat([9.0, 1.0], 40)
    values = np.array([np.zeros(80), np.repeat([0.0, 1.0], 40), np.zeros(80)])
    found = barrier(np.linspace(0, 1, 3), values, counts, np.random.default_rng(0), 400)
    # A tenth of all terms; unweighted, half of all units would be high.
    assert found.height == pytest.approx(0.1)
    assert found.low < 0.1 < found.high < 0.2


def test_pairing_removes_what_samples_differ_by_everywhere() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(0, 100, 50)
    values = np.array([0.0, 1.0, 0.0])[:, None] + level
    found = barrier(np.linspace(0, 1, 3), values, np.ones(50), rng, 200)
    assert found.high - found.low < 1e-10


def test_a_paired_interval_is_students() -> None:
    d = np.array([0.3, -0.1, 0.8, 0.5])
    low, high = paired_interval(d, np.ones(4))
    # Student t with three degrees of freedom, 3.18245, times the standard error.
    half = 3.182446305284263 * d.std(ddof=1) / 2
    np.testing.assert_allclose([low, high], [d.mean() - half, d.mean() + half], rtol=1e-12)
    assert standard_error(d, np.ones(4)) == pytest.approx(d.std(ddof=1) / 2, rel=1e-12)
    wide = paired_interval(d, np.ones(4), comparisons=10)
    assert wide[0] < low < high < wide[1]
    assert paired_interval(d[:1], np.ones(1)) is None
    assert paired_interval(np.array([1.0, np.inf]), np.ones(2)) is None
    assert paired_interval(np.array([1.0, np.nan, 3.0]), np.array([1.0, 0.0, 1.0])) is not None


def test_a_paired_interval_covers_as_it_says() -> None:
    """Of 2,000 intervals 95 % hold the mean: within 4 standard errors of √(0.95 · 0.05 / 2000) = 0.5 %."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(2000):
        low, high = paired_interval(rng.normal(1.0, 2.0, 12), np.ones(12))
        held += low <= 1.0 <= high
    assert abs(held / 2000 - 0.95) < 0.02
