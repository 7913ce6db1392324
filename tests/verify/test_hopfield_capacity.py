"""How many random patterns a Hopfield network holds, in the limit of many units."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from deepscope.models import Hopfield

pytestmark = pytest.mark.verify

LOADS = (0.14, 0.16, 0.18, 0.20)


def retrieved(units: int, load: float, seed: int) -> float:
    """Share of patterns from which the network does not run away: overlaps above 0.9 with where it rests."""
    count = round(load * units)
    patterns = 2.0 * torch.randint(2, (count, units), generator=torch.Generator().manual_seed(seed)) - 1
    network = Hopfield(units)
    network.store_hebb(patterns)
    ends = network.retrieve(patterns, most_sweeps=30, generator=torch.Generator().manual_seed(seed + 100)).states
    return float(((ends * patterns).mean(1) > 0.9).double().mean())


@pytest.mark.demonstrates("huang-statmech")
def test_retrieval_collapses_at_the_critical_load() -> None:
    """The load at which half the patterns are lost, to infinitely many units, and the replica theory's 0.138."""
    # Amit, Gutfreund and Sompolinsky at temperature 0: m = erf(y) with √(2α) y + (2/√π) y e^(−y²) = erf(y) has a
    # solution other than 0 up to the greatest α over y.
    y = np.linspace(0.5, 4, 100_000)
    erf = torch.erf(torch.tensor(y)).numpy()
    theory = float(((erf / y - 2 / math.sqrt(math.pi) * np.exp(-(y**2))) ** 2 / 2).max())
    assert theory == pytest.approx(0.1379, abs=1e-4)

    halves = []
    sizes = {200: 8, 400: 4, 800: 2}
    for units, repeats in sizes.items():
        shares = [np.mean([retrieved(units, load, seed) for seed in range(repeats)]) for load in LOADS]
        # The collapse is sharper the more units there are.
        assert shares[0] > 0.85
        assert all(after < before for before, after in pairwise(shares))
        slope, begin = np.polyfit(LOADS[-3:], shares[-3:], 1)
        halves.append((0.5 - begin) / slope)
    assert halves[0] > halves[1] > halves[2] > theory
    # Of fluctuations of √N patterns: what is left of them falls as 1 / √N.
    _, limit = np.polyfit([1 / math.sqrt(units) for units in sizes], halves, 1)
    assert limit == pytest.approx(theory, abs=0.015)
