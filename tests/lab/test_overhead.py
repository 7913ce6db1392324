"""The promise about a training's time, with a clock that the tests turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepscope.lab._overhead import OverheadBudget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_is_the_trainings_outside_and_measurings_inside() -> None:
    clock = Clock()
    budget = OverheadBudget(0.5, clock)
    clock.now += 7
    budget.start()
    clock.now += 3
    with budget:
        clock.now += 2
        assert (budget.spent, budget.trained) == (2, 3)
    clock.now += 1
    with budget:
        clock.now += 4
        assert (budget.spent, budget.trained) == (6, 4)
    clock.now += 5
    assert (budget.spent, budget.trained) == (6, 9)


def test_time_is_counted_also_where_measuring_is_broken_off() -> None:
    clock = Clock()
    budget = OverheadBudget(0.5, clock)

    def broken_off() -> None:
        with budget:
            clock.now += 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    clock.now += 5
    assert (budget.spent, budget.trained) == (2, 5)


@pytest.mark.parametrize(("trained", "affords"), [(59.99, False), (60.0, True), (60.01, True)])
def test_what_was_spent_and_what_is_expected_stay_within_the_share(trained: float, affords: bool) -> None:
    clock = Clock()
    budget = OverheadBudget(0.05, clock)
    with budget:
        clock.now += 2
    clock.now += trained
    # 2 + 1 seconds are 5 % of 60.
    assert budget.affords(1.0) is affords
    with budget:
        assert budget.affords(1.0) is affords
        clock.now += 1e-6
        assert budget.affords(1.0) is (trained == 60.01)


# Multiples of 2⁻¹⁰, so that sums on the clock are exact and the inequalities need no tolerance.
TICKS = st.integers(1, 2000).map(lambda ticks: ticks / 1024)


@given(st.lists(st.tuples(TICKS, TICKS), min_size=1, max_size=60), st.sampled_from([1 / 64, 1 / 16, 1 / 4, 2.0]))
def test_the_promise_is_kept_but_for_what_nobody_could_expect(moments: list[tuple[float, float]], share: float) -> None:
    clock = Clock()
    budget = OverheadBudget(share, clock)
    budget.start()
    expected, surprise = 0.0, 0.0
    for index, (training, cost) in enumerate(moments):
        clock.now += training if index else 0.0
        if index and not budget.affords(expected):
            continue
        with budget:
            clock.now += cost
        surprise = max(surprise, cost - expected)
        expected = cost
        assert budget.spent <= share * budget.trained + surprise
        # Whatever was not expected is paid before the next.
        assert budget.spent - cost + (cost if not index else 0) <= share * budget.trained or not index


def test_what_is_promised_is_also_used() -> None:
    clock = Clock()
    budget = OverheadBudget(0.125, clock)
    budget.start()
    count = 0
    for _ in range(10_000):
        if not count or budget.affords(0.5):
            with budget:
                clock.now += 0.5
            count += 1
        clock.now += 0.25
    # 2500 seconds of training pay for 625 measurements; the last may still be waited for.
    assert 624 <= count <= 625
    assert budget.spent == count * 0.5
