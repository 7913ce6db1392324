"""Planted exponents, as the map of the field claims they are recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepscope import Subject
from deepscope.instruments import spectrum

pytestmark = pytest.mark.verify


@pytest.mark.demonstrates("alpha-hat")
@pytest.mark.parametrize("alpha", [2.0, 3.0, 4.0])
def test_planted_exponents_are_recovered_without_bias(alpha: float) -> None:
    found = []
    for seed in range(12):
        values = (1 - np.random.default_rng(seed).random(1000)) ** (-1 / (alpha - 1))
        layer = torch.nn.Linear(1000, 1000, bias=False, dtype=torch.float64)
        # Rotations would change no eigenvalue, and cost most of the time.
        layer.weight.data = torch.diag(torch.from_numpy(values).sqrt())
        found.append(spectrum(Subject(layer)).table()["alpha"][0])
    # One estimate scatters by (α − 1)/√1000, 0.095 at most, and more where fewer values are in the tail; the mean of
    # twelve by about a third of that.
    assert abs(np.mean(found) - alpha) <= 0.1
    assert np.std(found, ddof=1) <= 2 * (alpha - 1) / math.sqrt(1000)
