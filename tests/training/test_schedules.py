from __future__ import annotations

import itertools
import math
import pickle

import pytest

from deepscope.core import UsageError
from deepscope.training import constant, cosine, linear_warmup, step_decay


def test_cosine_at_its_known_points() -> None:
    schedule = cosine(110, warmup=10, final=0.2)
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(9) == 1.0
    assert schedule(10) == 1.0
    # A third of the way cos(π/3) = 1/2, so the factor is 0.2 + 0.8 · 3/4; not a whole step, so compare neighbours.
    assert schedule(43) > 0.8 > schedule(44)
    assert schedule(60) == pytest.approx(0.6)
    assert schedule(110) == pytest.approx(0.2)
    assert schedule(10_000) == pytest.approx(0.2)


def test_cosine_equals_its_formula_and_falls() -> None:
    schedule = cosine(50)
    values = [schedule(step) for step in range(51)]
    assert values == pytest.approx([(1 + math.cos(math.pi * step / 50)) / 2 for step in range(51)])
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


def test_the_others_at_their_known_points() -> None:
    assert [constant()(step) for step in (0, 7)] == [1.0, 1.0]
    assert [linear_warmup(5)(step) for step in (0, 4, 5, 9)] == [0.2, 1.0, 1.0, 1.0]
    assert [step_decay(3)(step) for step in (0, 2, 3, 6)] == pytest.approx([1.0, 1.0, 0.1, 0.01])


@pytest.mark.parametrize("schedule", [constant(), cosine(10, 2), linear_warmup(4), step_decay(3)])
def test_schedules_cross_process_borders(schedule) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert [copy(step) for step in range(12)] == [schedule(step) for step in range(12)]


def test_wrong_arguments_are_named() -> None:
    for make in (
        lambda: cosine(5, warmup=5),
        lambda: cosine(5, final=-1),
        lambda: linear_warmup(0),
        lambda: step_decay(0),
        lambda: step_decay(2, factor=0),
    ):
        with pytest.raises(UsageError):
            make()
