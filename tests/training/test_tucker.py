from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import tucker2


def kernel_of(layers: nn.Sequential) -> Tensor:
    first, core, last = (each.weight.detach() for each in layers)
    return torch.einsum("op...,pqst,qi...->oist", last[..., 0, 0], core, first[..., 0, 0])


def convolution() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 8, 3).double()


@pytest.mark.parametrize(("in_rank", "out_rank"), [(1, 1), (3, 4), (6, 2), (2, 8), (5, 7), (6, 8)])
def test_the_error_is_that_of_the_dropped_singular_values(in_rank: int, out_rank: int) -> None:
    layer = convolution()
    kernel = layer.weight.detach()
    found = tucker2(layer, in_rank, out_rank)
    U, values, _ = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
    partly = torch.einsum("op,oist->pist", U[:, :out_rank], kernel)
    inner = torch.linalg.svdvals(partly.movedim(1, 0).flatten(1))
    squares = float(values[out_rank:].square().sum() + inner[in_rank:].square().sum())
    # Sums of some hundreds of products of order 1.
    assert found.error == pytest.approx(math.sqrt(squares), abs=1e-12)
    assert float((kernel_of(found.layer) - kernel).norm()) == pytest.approx(math.sqrt(squares), abs=1e-12)
    # The bound of the higher-order SVD: the tails of both unfoldings of the kernel itself.
    outer = torch.linalg.svdvals(kernel.movedim(1, 0).flatten(1))
    assert squares <= float(values[out_rank:].square().sum() + outer[in_rank:].square().sum()) + 1e-12


def test_it_is_within_the_factor_of_the_best_that_an_iteration_finds() -> None:
    from tensorly.decomposition import partial_tucker

    layer = convolution()
    kernel = layer.weight.detach()
    for in_rank, out_rank in ((2, 3), (3, 5)):
        (core, factors), _ = partial_tucker(
            kernel.numpy(), rank=[out_rank, in_rank], modes=[0, 1], n_iter_max=200, tol=1e-12, random_state=0
        )
        best = np.einsum("pqst,op,iq->oist", core, *factors)
        error = float(np.linalg.norm(best - kernel.numpy()))
        found = tucker2(layer, in_rank, out_rank)
        # Orthogonal iteration starts from a like truncation and only gets better.
        assert error <= found.error * (1 + 1e-9)
        assert found.error <= math.sqrt(2) * error


def test_a_kernel_of_low_rank_is_found_exactly() -> None:
    generator = torch.Generator().manual_seed(1)
    U, core, V = (
        torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((8, 3), (3, 2, 3, 3), (6, 2))
    )
    layer = convolution()
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("op,pqst,iq->oist", U, core, V))
    assert tucker2(layer, 2, 3).relative_error < 1e-12
    assert tucker2(layer, 2, 2).relative_error > 1e-2
    assert tucker2(layer, 1, 3).relative_error > 1e-2


def test_bad_ranks_are_named() -> None:
    layer = convolution()
    for rank in (0, 9):
        with pytest.raises(UsageError, match=r"out_rank is(?s:.)*from 1 to 8"):
            tucker2(layer, 2, rank)
    for rank in (0, 7):
        with pytest.raises(UsageError, match=r"in_rank is(?s:.)*from 1 to 6"):
            tucker2(layer, rank, 2)
    pointwise = nn.Conv2d(6, 8, 1)
    with pytest.raises(UsageError, match=r"in_rank is 3(?s:.)*from 1 to 2"):
        tucker2(pointwise, 3, 2)
    with pytest.raises(UsageError, match="Linear"):
        tucker2(nn.Linear(3, 3), 1, 1)
    with pytest.raises(UsageError, match="groups"):
        tucker2(nn.Conv2d(4, 4, 3, groups=4), 1, 1)
