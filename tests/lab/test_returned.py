"""What a trial returned, as plain values."""

from __future__ import annotations

import numpy as np

from deepscope.lab._returned import plain_values


def test_what_is_masked_is_missing() -> None:
    masked = np.ma.masked_array([1, 2, 3], mask=[False, True, False])
    found = plain_values({"scalar": masked[1], "array": masked, "kept": masked[0]}, where="trial")
    assert found["scalar"] is None
    np.testing.assert_array_equal(found["array"], [1.0, np.nan, 3.0])
    assert found["kept"] == 1
