"""Examinations that agree but for the rounding of sums."""

from __future__ import annotations

import pandas as pd
import pytest

from deepscope import Examination


def check_same_readings(one: Examination, other: Examination) -> None:
    """Compare the tables of an examination here and of one by workers, which compute with one thread each.

    Sums differ in their rounding, eigenvalues by max(rows, cols) · 2.2e-16 · λ_max, and so does all that is read off
    them; resamples are drawn alike.
    """
    assert one.readings.keys() == other.readings.keys()
    for name, reading in one.readings.items():
        table, theirs = reading.table(), other.readings[name].table()
        for column in table.columns:
            if not pd.api.types.is_numeric_dtype(table[column]):
                assert table[column].equals(theirs[column])
            else:
                assert theirs[column].to_numpy() == pytest.approx(table[column].to_numpy(), rel=1e-9, nan_ok=True)
