"""Leave-one-out predictions against as many fits, each without its sample."""

from __future__ import annotations

import numpy as np
import pytest

from deepscope.linalg import leave_one_out


def data(n: int = 15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return np.exp(-((x[:, None] - x[None]) ** 2).sum(2) / 4), np.sin(x[:, :2]) + 0.1 * rng.normal(size=(n, 2))


def refitted(K: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    rows = []
    for i in range(len(K)):
        kept = np.delete(np.arange(len(K)), i)
        weights = np.linalg.solve(K[np.ix_(kept, kept)] + ridge * np.eye(len(kept)), y[kept])
        rows.append(K[i, kept] @ weights)
    return np.array(rows)


def test_predictions_are_those_of_fits_without_the_sample() -> None:
    K, y = data()
    found = leave_one_out(K, y)
    np.testing.assert_allclose(found.predictions, refitted(K, y, found.ridge), rtol=1e-8, atol=1e-10)


def test_the_ridge_is_the_best_of_those_tried() -> None:
    K, y = data()
    found = leave_one_out(K, y)
    error = np.sum((y - found.predictions) ** 2)
    for factor in (10**-0.5, 10**0.5):
        assert np.sum((y - refitted(K, y, found.ridge * factor)) ** 2) >= error * (1 - 1e-9)


def test_scale_of_the_kernel_does_not_matter() -> None:
    K, y = data()
    np.testing.assert_allclose(leave_one_out(1e6 * K, y).predictions, leave_one_out(K, y).predictions, rtol=1e-6)


def test_labels_without_structure_are_not_predicted() -> None:
    rng = np.random.default_rng(1)
    K, _ = data(60)
    y = rng.normal(size=(60, 1))
    error = np.sum((y - leave_one_out(K, y).predictions) ** 2) / np.sum(y**2)
    # Predicting 0 has an error of 1; the best ridge may gain little by chance.
    assert 0.8 < error < 1.1


@pytest.mark.parametrize("K", [np.zeros((4, 4)), np.ones((1, 1))])
def test_nothing_to_regress_on(K: np.ndarray) -> None:
    assert leave_one_out(K, np.ones((len(K), 1))) is None
