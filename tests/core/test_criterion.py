"""Criteria: three answers, an interval whose coverage is what it says, and no answer from too little."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepscope.core import Criterion, UsageError, interval

AROUND_ONE = {0: 1.1, 1: 0.9, 2: 1.0}


@pytest.mark.parametrize(
    ("threshold", "holds"),
    [
        ({"above": 0.5}, True),
        ({"above": 1.5}, False),
        ({"above": 1.0}, None),
        ({"below": 1.5}, True),
        ({"below": 0.5}, False),
        ({"below": 1.0}, None),
        ({"within": 0.5, "target": 1.0}, True),
        ({"within": 0.5, "target": 2.0}, False),
        ({"within": 0.5, "target": -1.0}, False),
        ({"within": 0.1, "target": 1.0}, None),
        ({"within": 0.5, "target": 1.4}, None),
    ],
)
def test_the_whole_interval_must_be_on_one_side(threshold: dict[str, float], holds: bool | None) -> None:
    assert Criterion.effect("x", AROUND_ONE, **threshold).holds is holds


def test_below_twenty_seeds_the_interval_is_students_t() -> None:
    values = np.random.default_rng(1).normal(size=7)
    low, high = interval(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_from_twenty_seeds_on_the_interval_is_a_bootstrap_that_repeats_itself() -> None:
    values = np.random.default_rng(2).lognormal(size=40)
    low, high = interval(values)
    assert (low, high) == interval(values)
    # Skewed values have a skewed interval; Student's would be symmetric about the mean.
    assert high - values.mean() > 1.1 * (values.mean() - low)
    # As scipy's percentile interval at the expanded level; 10,000 resamples of theirs and ours: 3 % of the width.
    n = len(values)
    tail = stats.norm.cdf(-stats.t.ppf(0.975, n - 1) * math.sqrt(n / (n - 1)))
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", confidence_level=1 - 2 * tail, n_resamples=10_000, rng=3
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * (high - low))


@pytest.mark.parametrize("seeds", [3, 5, 10, 30])
def test_the_interval_covers_the_truth_in_95_of_100_studies(seeds: int) -> None:
    # 2,000 simulated studies: the standard error of a coverage of 95 % is 0.5 points, so 93 … 97 is four of them.
    generator = np.random.default_rng(20_000 + seeds)
    covered = 0
    for _ in range(2000):
        effect = generator.normal(0.3, 1.7, size=seeds)
        criterion = Criterion.effect("x", dict(enumerate(effect)), above=0.0)
        assert criterion.low is not None
        assert criterion.high is not None
        covered += criterion.low <= 0.3 <= criterion.high
    assert 0.93 <= covered / 2000 <= 0.97


@pytest.mark.parametrize("values", [{}, {0: 5.0}, {0: 5.0, 1: 6.0}, {0: 5.0, 1: None, 2: float("nan"), 3: 6.0}])
def test_fewer_than_three_seeds_decide_nothing(values: dict[int, float]) -> None:
    criterion = Criterion.effect("x", values, above=1.0)
    assert criterion.holds is None
    assert (criterion.low, criterion.high) == (None, None)
    assert "nothing; at least 3 do" in criterion.note


def test_seeds_without_a_value_are_counted() -> None:
    criterion = Criterion.effect("x", {0: 1.0, 1: 1.1, 2: 0.9, 3: None}, above=0.5)
    assert (criterion.seeds, criterion.note) == (3, "1 of 4 seeds have no value")


def test_an_effect_with_missing_seeds_can_fail_but_not_hold() -> None:
    # What a seed that is missing would have shown may be why it is.
    assert Criterion.effect("x", {0: 1.0, 1: 1.1, 2: 0.9}, above=0.5).holds is True
    assert Criterion.effect("x", {0: 1.0, 1: 1.1, 2: 0.9, 3: None}, above=0.5).holds is None
    assert Criterion.effect("x", {0: 1.0, 1: 1.1, 2: 0.9, 3: None}, above=2.0).holds is False


@pytest.mark.parametrize("values", [{0: 0.0}, {0: 9.0}, {0: 0.0, 1: 0.0}, {0: 9.0, 1: 9.0}])
def test_an_identity_on_one_or_two_seeds_is_open(values: dict[int, float]) -> None:
    assert Criterion.exact("x", values, within=1.0).holds is None


@pytest.mark.parametrize("none", [None, [], [math.nan]])
@pytest.mark.parametrize("value", [0.5, 5.0])
def test_seeds_without_a_number_do_not_help_an_identity_to_decide(none: object, value: float) -> None:
    criterion = Criterion.exact("x", {0: value, 1: none, 2: none}, below=1.0)
    assert (criterion.holds, criterion.seeds, criterion.missing) == (None, 1, 2)


def test_no_effect_is_on_neither_side_of_nothing() -> None:
    nothing = {0: 0.0, 1: 0.0, 2: 0.0}
    assert Criterion.effect("x", nothing, above=0.0).holds is None
    assert Criterion.effect("x", nothing, below=0.0).holds is None
    # An identity may meet its bound.
    assert Criterion.exact("x", nothing, below=0.0).holds is True
    assert Criterion.exact("x", nothing, above=0.0).holds is True


def test_two_values_of_one_seed_are_refused() -> None:
    with pytest.raises(UsageError, match="not independent"):
        Criterion.effect("x", pd.Series([1.0, 2.0, 3.0], index=[0, 0, 1]), above=0.0)


def test_an_exact_identity_is_judged_by_its_worst_case() -> None:
    values = {0: [1e-12, -5e-12], 1: [2e-12, 0.0], 2: [0.0]}
    criterion = Criterion.exact("x", values, within=4e-12)
    assert (criterion.measured, criterion.low, criterion.high) == (-5e-12, -5e-12, -5e-12)
    assert criterion.holds is False
    assert Criterion.exact("x", values, within=6e-12).holds is True
    assert Criterion.exact("x", {0: [3.0, 1.0]}, above=2.0).measured == 1.0
    assert Criterion.exact("x", {0: [3.0, 1.0]}, below=2.0).measured == 3.0


def test_a_missing_number_leaves_an_identity_open_but_not_a_counterexample() -> None:
    assert Criterion.exact("x", {0: 0.0, 1: None, 2: 0.0, 3: 0.0}, within=1.0).holds is None
    assert Criterion.exact("x", {0: 5.0, 1: None, 2: 0.0, 3: 0.0}, within=1.0).holds is False
    assert Criterion.exact("x", {}, within=1.0).holds is None


@pytest.mark.parametrize(
    "thresholds",
    [{}, {"above": 1.0, "below": 2.0}, {"above": float("nan")}, {"within": -1.0}, {"below": float("inf")}],
)
def test_a_criterion_has_one_finite_threshold(thresholds: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="exactly one finite threshold"):
        Criterion.effect("x", AROUND_ONE, **thresholds)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=40), st.floats(-1e6, 1e6))
def test_above_and_below_are_each_others_mirror(values: list[float], threshold: float) -> None:
    up = Criterion.effect("x", dict(enumerate(values)), above=threshold)
    down = Criterion.effect("x", dict(enumerate(values)), below=threshold)
    assert not (up.holds and down.holds)
    if up.holds is False:
        assert down.holds is True
    if up.holds is None:
        assert down.holds is None
    if up.holds is True:
        assert down.holds is False


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=19), st.floats(-100, 100))
def test_a_shifted_effect_has_a_shifted_interval(values: list[float], shift: float) -> None:
    low, high = interval(np.array(values))
    moved_low, moved_high = interval(np.array(values) + shift)
    # Rounding of sums of up to 19 numbers of up to 1e3: far below 1e-9.
    assert (moved_low, moved_high) == pytest.approx((low + shift, high + shift), abs=1e-9)
