"""What is said of an estimate, from halves and orders that are known."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.linalg import InformationEstimate
from deepscope.linalg._information_estimate import estimate_of


def judged(bits: float, null: np.ndarray, half: float | None = None) -> InformationEstimate:
    """Give all samples this estimate and half of them that one; and orders their own."""
    values = iter(null)
    return estimate_of(
        10,
        on=lambda rows: bits if half is None or len(rows) == 10 else half,
        permuted=lambda orders: np.array([next(values) for _ in orders]),
        ceiling=5.0,
        status=lambda _: "",
        permutations=len(null),
        rng=None,
    )


@pytest.mark.parametrize(("orders", "high"), [(19, 18.0), (39, 37.0), (99, 94.0)])
def test_the_null_is_the_order_that_one_in_twenty_exceeds(orders: int, high: float) -> None:
    """Of 20, 40 or 100 values in random order, the estimate's own among them, one in twenty is above it."""
    null = np.random.default_rng(0).permutation(orders).astype(float)
    assert judged(high, null).null_high == high
    assert judged(high, null).null_mean == pytest.approx((orders - 1) / 2)
    assert not judged(high, null).beats_null
    assert judged(high + 0.5, null).beats_null
    assert judged(high, null).p_value == pytest.approx((1 + orders - high) / (1 + orders))
    assert judged(1e3, null).p_value == 1 / (1 + orders)


def test_what_changes_with_the_samples_has_not_converged() -> None:
    null = np.zeros(19)
    assert judged(2.0, null, 1.95).status == "ok"
    assert judged(2.0, null, 1.8).status == "not converged: 1.8 bits from half of the samples, 2 from all"
    assert judged(2.0, null, 1.8).half_bits == pytest.approx(1.8)


def test_rounding_does_not_beat_the_null() -> None:
    found = judged(1e-15, np.zeros(19))
    assert (found.beats_null, found.p_value, found.status) == (False, 1.0, "ok")
    assert found.low == found.bits == found.high
