"""The local rank of Jacobians whose singular values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepscope.core import UsageError
from deepscope.linalg import local_rank


def planted(rng: np.random.Generator, sigma: np.ndarray, m: int, d: int) -> np.ndarray:
    U, V = (np.linalg.qr(rng.normal(size=(size, len(sigma))))[0] for size in (m, d))
    return np.asarray((U * sigma) @ V.T)


def ratio(sigma: np.ndarray) -> float:
    return float(np.sum(sigma**2) ** 2 / np.sum(sigma**4))


@pytest.mark.parametrize("sigma", [[1.0], [2.0, 2.0, 2.0], [4.0, 3.0], [1e3, 1.0, 1e-3]])
def test_it_is_the_ratio_of_singular_values(sigma: list[float]) -> None:
    rng = np.random.default_rng(0)
    values = np.array(sigma)
    J = np.stack([planted(rng, values, 12, 7), 5 * planted(rng, values, 12, 7)])
    assert local_rank(J) == pytest.approx([ratio(values)] * 2, rel=1e-9)
    assert local_rank(torch.from_numpy(J)[0]) == pytest.approx(ratio(values), rel=1e-9)


def test_a_jacobian_of_zeros_has_rank_zero() -> None:
    assert local_rank(np.zeros((2, 3, 4))).tolist() == [0.0, 0.0]
    assert local_rank(np.zeros((3, 4)), random=True) == 0


@pytest.mark.parametrize("k", [4, 32])
def test_sums_over_random_directions_have_no_bias(k: int) -> None:
    """Of Σσ² = 10 and Σσ⁴ = 34: each sum over pairs, and not their ratio, has the right mean."""
    rng = np.random.default_rng(1)
    sigma = np.array([2.0, 1.5, 1.5, 1.0, 0.7])
    J = planted(rng, sigma, 20, 300)
    above, below = [], []
    for _ in range(4000 // k):
        JV = J @ rng.normal(size=(300, k))
        W = JV.T @ JV
        pairs = k * (k - 1)
        above.append((np.trace(W) ** 2 - np.sum(np.diag(W) ** 2)) / pairs)
        below.append((np.sum(W**2) - np.sum(np.diag(W) ** 2)) / pairs)
        assert local_rank(JV, random=True) == pytest.approx(above[-1] / below[-1], rel=1e-9)
    for values, known in ((above, np.sum(sigma**2) ** 2), (below, np.sum(sigma**4))):
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - known) < 4 * error


def test_the_mean_over_samples_is_that_of_all_directions() -> None:
    rng = np.random.default_rng(2)
    J = np.stack([planted(rng, rng.random(20) + 0.1, 30, 400) for _ in range(64)])
    sketched = local_rank(J @ rng.normal(size=(64, 400, 32)), random=True)
    exact = local_rank(J)
    # The docstring: √8/32 of itself for one, less by √64 for their mean, and a bias of some 1/32² and more.
    assert np.mean(sketched) == pytest.approx(np.mean(exact), rel=4 * np.sqrt(8) / 32 / 8 + 0.01)
    assert np.std(sketched / exact) < np.sqrt(8) / 32 * 1.3


def test_wrong_use_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="matrix"):
        local_rank(np.zeros(3))
    with pytest.raises(UsageError, match="pairs"):
        local_rank(np.zeros((3, 1)), random=True)
    with pytest.raises(UsageError, match="not finite"):
        local_rank(np.full((3, 2), np.nan))
