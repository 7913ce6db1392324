"""The interval of a barrier holds the true height as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.instruments._barrier import barrier


@pytest.mark.verify
@pytest.mark.parametrize("samples", [100, 400])
def test_a_barriers_interval_covers(samples: int) -> None:
    """Sample i's losses are cᵢ + hᵢ · 4t(1 − t), with hᵢ exponential of mean 1: a barrier of 1.

    2,000 draws tell 95 % from 93 % and 97 % by four standard errors of 0.5 %.
    """
    rng = np.random.default_rng(11)
    t = np.linspace(0, 1, 11)
    shape = 4 * t * (1 - t)
    held = 0
    for _ in range(2000):
        values = rng.normal(0, 5, samples) + shape[:, None] * rng.exponential(1.0, samples)
        found = barrier(t, values, np.ones(samples), rng, resamples=400)
        held += found.low <= 1.0 <= found.high
    assert 0.93 <= held / 2000 <= 0.97
