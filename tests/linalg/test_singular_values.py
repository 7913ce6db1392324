"""Leading singular values by bidiagonalisation against dense decompositions, with their bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg import LeadingSingularValues, leading_singular_values


def found_for(A: Tensor, count: int = 1, seed: int = 0, **kwargs: float) -> LeadingSingularValues:
    return leading_singular_values(
        lambda v: (A @ v[:, :, None])[:, :, 0],
        lambda u: (A.mT @ u[:, :, None])[:, :, 0],
        tuple(A.shape),
        count=count,
        generator=torch.Generator().manual_seed(seed),
        **kwargs,
    )


def random_batch(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 40, 30), (3, 30, 40), (2, 200, 15), (2, 15, 200), (1, 1, 5), (4, 7, 7)])
def test_values_and_vectors_are_those_of_a_dense_decomposition(shape: tuple[int, int, int]) -> None:
    A = random_batch(*shape)
    count = min(3, *shape[1:])
    found = found_for(A, count)
    expected = torch.linalg.svdvals(A)[:, :count]
    assert found.converged
    # Never above but for rounding, and below by no more than the bound.
    assert (found.values <= expected * (1 + 1e-12)).all()
    assert (expected - found.values <= found.errors).all()
    assert (found.errors <= 1e-5 * expected[:, :1]).all()
    image = (A @ found.right[:, :, None])[:, :, 0]
    # A vector's error is the root of its value's: √1e-5 of the norm over the gap.
    assert torch.allclose(image, found.values[:, :1] * found.left, atol=1e-2)


def test_residuals_hold_before_convergence() -> None:
    A = random_batch(20, 60, 50)
    expected = torch.linalg.svdvals(A)
    for steps in (2, 4, 8):
        found = found_for(A, 2, max_basis=steps)
        assert not found.converged
        nearest = (expected[:, None] - found.values[:, :, None]).abs().amin(2)
        assert (nearest <= found.residuals).all()


def test_an_isometry_and_a_low_rank_matrix_end_early_and_right() -> None:
    Q = torch.linalg.qr(random_batch(2, 30, 30)).Q
    found = found_for(Q, 4)
    assert torch.allclose(found.values, torch.ones(2, 4, dtype=torch.float64), atol=1e-12)
    assert found.n_products <= 6
    u, v = random_batch(1, 20, 2), random_batch(1, 2, 25, seed=1)
    low = u @ v
    found = found_for(low, 4)
    expected = torch.linalg.svdvals(low)[:, :4]
    assert torch.allclose(found.values, expected, atol=1e-10)
    zero = found_for(torch.zeros(2, 5, 6, dtype=torch.float64), 2)
    assert not zero.values.any()
    assert zero.converged


def test_products_in_single_precision_stop_at_their_rounding() -> None:
    A = random_batch(3, 50, 40)
    single = A.float()
    found = leading_singular_values(
        lambda v: (single @ v.float()[:, :, None])[:, :, 0].double(),
        lambda u: (single.mT @ u.float()[:, :, None])[:, :, 0].double(),
        (3, 50, 40),
        generator=torch.Generator().manual_seed(0),
        epsilon=torch.finfo(torch.float32).eps,
    )
    expected = torch.linalg.svdvals(A)[:, :1]
    assert ((found.values - expected).abs() <= found.errors).all()


def test_wrong_arguments_are_clear_errors() -> None:
    with pytest.raises(UsageError, match="1 to 3 singular values"):
        found_for(torch.zeros(1, 3, 4, dtype=torch.float64), 4)
    with pytest.raises(MeasurementError, match="not finite"):
        found_for(torch.full((1, 3, 4), torch.nan, dtype=torch.float64))
