"""The interval of the intrinsic dimension over many draws."""

from __future__ import annotations

import numpy as np
import pytest
from test_intrinsic_dimension import torus

from deepscope.linalg import intrinsic_dimension

pytestmark = pytest.mark.verify

DRAWS = 2000


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_interval_holds_the_dimension_in_95_percent(n: int, d: int) -> None:
    rng = np.random.default_rng(n + d)
    held = 0
    for _ in range(DRAWS):
        found = intrinsic_dimension(torus(rng, n, d))
        held += found.low <= d <= found.high
    assert 0.93 <= held / DRAWS <= 0.97
