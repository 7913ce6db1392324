"""The order of learning from curves: exact crossings, throw-backs, ties, several trainings, and its picture."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.core import UsageError
from deepscope.instruments import frequency_order, order_over_seeds

T = np.arange(0, 60, 4)


def falling(*rates: float) -> np.ndarray:
    return np.exp(-np.outer(T, rates))


def test_crossings_of_exponentials_are_exact_between_measurements() -> None:
    found = frequency_order(T, falling(0.31, 0.1, 0.05), [1, 2, 3], threshold=0.2)
    np.testing.assert_allclose(found.learned, np.log(5) / np.array([0.31, 0.1, 0.05]), rtol=1e-12)
    assert found.order == ("1", "2", "3")
    assert found.is_ascending
    assert found.rank_correlation == pytest.approx(1)
    assert frequency_order(T, falling(0.05, 0.1, 0.31), [1, 2, 3]).rank_correlation == pytest.approx(-1)
    assert frequency_order(T, falling(0.05, 0.1, 0.31), [3, 2, 1]).is_ascending


def test_an_error_that_comes_back_counts_from_when_it_stays_away() -> None:
    errors = falling(0.5, 0.2)
    errors[7, 0] = 0.9
    found = frequency_order(T, errors, [1, 2])
    assert T[7] < found.learned[0] < T[8]
    assert found.order == ("2", "1")
    assert not found.is_ascending


def test_what_is_not_learned_at_the_end_is_last() -> None:
    errors = falling(0.5, 0.2, 0.001)
    errors[-1, 0] = 0.4
    found = frequency_order(T, errors, [1, 2, 3])
    assert found.learned[0] is None
    assert found.learned[2] is None
    assert found.order == ("2",)
    assert not found.is_ascending
    # Pairs: (1, 2) discordant, (2, 3) concordant, (1, 3) tied in the steps: (1 − 1) / √(3 · 2) = 0.
    assert found.rank_correlation == pytest.approx(0)
    nothing = frequency_order(T, np.ones((len(T), 2)), [1, 2])
    assert (nothing.order, nothing.rank_correlation, nothing.is_ascending) == ((), None, False)


def test_what_is_learned_from_the_start_and_what_falls_to_zero() -> None:
    errors = np.array([[0.1, 1.0], [0.0, 0.0]])
    found = frequency_order([0, 8], errors, [1, 2])
    assert found.learned[0] == 0
    # The line over the logarithm falls to the least number there is.
    assert 0 < found.learned[1] < 0.1


def test_orders_of_several_trainings() -> None:
    right, wrong = frequency_order(T, falling(0.5, 0.2), [1, 2]), frequency_order(T, falling(0.2, 0.5), [1, 2])
    found = order_over_seeds([right] * 18 + [wrong] * 2)
    assert (found.n, found.by_chance, found.ascending.value) == (20, 0.5, 0.9)
    # Wilson's interval of 18 of 20, from its formula: (0.9 + z²/40 ± z √(0.9·0.1/20 + z²/1600)) / (1 + z²/20).
    assert (found.ascending.low, found.ascending.high) == pytest.approx((0.699, 0.972), abs=1e-3)
    assert found.rank_correlation.value == pytest.approx(0.8)
    # Of ±1, two of twenty: standard deviation √(1 − 0.8²) · √(20/19), over √20.
    assert found.rank_correlation.stderr == pytest.approx(0.6 / 19**0.5)
    assert order_over_seeds([right]).rank_correlation is None
    with pytest.raises(UsageError, match="different bands"):
        order_over_seeds([right, frequency_order(T, falling(0.5, 0.2, 0.1), [1, 2, 3])])
    with pytest.raises(UsageError, match="no trainings"):
        order_over_seeds([])


def test_what_it_shows() -> None:
    found = frequency_order(T, falling(0.5, 0.2, 0.001), [1, 2, 3], names=["low", "middle", "high"])
    assert found.table()["name"].tolist() == ["low", "middle", "high"]
    assert np.isnan(found.table()["learned"].to_numpy()[2])
    assert "2 of 3 bands learned" in str(found)
    (axes,) = found.plot().axes
    assert {"low", "middle", "high"} <= {text.get_text() for text in axes.texts}


def test_curves_that_make_no_sense_are_refused() -> None:
    errors = falling(0.5, 0.2)
    for steps, values, frequencies, more in (
        (T[:-1], errors, [1, 2], {}),
        (T, errors, [1], {}),
        (T, errors, [1, 2], {"names": ["low"]}),
        (T[::-1], errors, [1, 2], {}),
        (T, -errors, [1, 2], {}),
        (T, errors * np.nan, [1, 2], {}),
        (T, errors, [1, 2], {"threshold": 0.0}),
        ([], np.zeros((0, 2)), [1, 2], {}),
    ):
        with pytest.raises(UsageError):
            frequency_order(steps, values, frequencies, **more)
