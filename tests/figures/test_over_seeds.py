"""Means over seeds and their intervals, as pictures draw them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepscope.core import Criterion
from deepscope.figures import over_seeds


def test_the_mean_and_interval_are_those_of_a_criterion() -> None:
    for seeds in (3, 8, 25):
        values = np.random.default_rng(seeds).normal(size=seeds)
        judged = Criterion.effect("x", dict(enumerate(values)), above=0)
        assert over_seeds(values).tolist() == [judged.measured, judged.low, judged.high]


def test_curves_are_taken_point_by_point() -> None:
    curves = np.random.default_rng(0).normal(size=(5, 4))
    found = over_seeds(curves)
    assert found.shape == (3, 4)
    for point in range(4):
        np.testing.assert_array_equal(found[:, point], over_seeds(curves[:, point]))


def test_geometric_means_multiply() -> None:
    values = np.array([1.0, 4.0, 2.0])
    assert over_seeds(values, log=True)[0] == pytest.approx(2)
    np.testing.assert_allclose(over_seeds(10 * values, log=True), 10 * over_seeds(values, log=True), rtol=1e-12)


def test_few_seeds_have_no_interval_and_none_no_mean() -> None:
    found = over_seeds(pd.Series([1.0, 3.0]))
    assert found[0] == 2
    assert np.isnan(found[1:]).all()
    assert np.isnan(over_seeds([])).all()
    assert over_seeds(np.empty((0, 4))).shape == (3, 4)
