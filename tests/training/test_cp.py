from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import cp


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def kernel_of(layers: nn.Sequential) -> Tensor:
    first, high, wide, last = (each.weight.detach() for each in layers)
    factors = last[:, :, 0, 0], first[:, :, 0, 0].mT, high[:, 0, :, 0].mT, wide[:, 0, 0].mT
    return torch.einsum("or,ir,hr,wr->oihw", *factors)


def convolution(rank: int | None = None) -> nn.Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 6, (3, 4)).double()
    if rank is not None:
        factors = [torch.randn(size, rank, generator=seed(1), dtype=torch.float64) for size in (6, 5, 3, 4)]
        with torch.no_grad():
            layer.weight.copy_(torch.einsum("or,ir,hr,wr->oihw", *factors))
    return layer


def test_a_kernel_of_low_rank_is_found() -> None:
    layer = convolution(rank=3)
    found = cp(layer, 3, generator=seed(), tolerance=1e-12)
    assert found.converged
    # Alternating least squares converges linearly: the last round's gain of 1e-12 is some hundredth of what is left.
    assert found.relative_error < 1e-8
    assert cp(layer, 2, generator=seed()).relative_error > 1e-2


def test_the_error_is_that_of_the_kernel_and_falls_with_the_rank() -> None:
    layer, errors = convolution(), []
    for rank in (1, 2, 4, 8):
        found = cp(layer, rank, generator=seed())
        difference = float((kernel_of(found.layer) - layer.weight.detach()).norm())
        # Sums of some hundreds of products of order 1.
        assert found.error == pytest.approx(difference, abs=1e-10)
        assert found.relative_error == pytest.approx(difference / float(layer.weight.detach().norm()), abs=1e-10)
        errors.append(found.error)
    assert errors == sorted(errors, reverse=True)


def test_more_rounds_never_raise_the_error() -> None:
    layer = convolution()
    founds = [cp(layer, 4, generator=seed(), max_sweeps=n, tolerance=0.0) for n in range(1, 12)]
    errors = [each.error for each in founds]
    assert all(after <= before + 1e-12 for before, after in pairwise(errors))
    assert not founds[0].converged


def test_the_scale_of_a_kernel_makes_no_difference() -> None:
    layer, larger = convolution(), convolution()
    with torch.no_grad():
        larger.weight.mul_(2.0**20)
    one, other = (cp(each, 3, generator=seed(), tolerance=1e-3) for each in (layer, larger))
    # As many rounds, in which a power of two changes no digit.
    assert one.converged
    assert other.relative_error == pytest.approx(one.relative_error, rel=1e-13)
    # More rounds would come nearer.
    assert cp(layer, 3, generator=seed(), tolerance=1e-7).error < 0.999 * one.error


def test_it_is_as_near_as_what_tensorly_finds() -> None:
    from tensorly.decomposition import parafac

    layer = convolution()
    for rank, slack in ((1, 1e-4), (4, 0.05)):
        theirs = parafac(layer.weight.detach().numpy(), rank, n_iter_max=300, tol=1e-9, init="random", random_state=0)
        best = np.einsum("r,or,ir,hr,wr->oihw", theirs.weights, *theirs.factors)
        error = float(np.linalg.norm(best - layer.weight.detach().numpy()))
        # Starts differ, and minima with them: the best of three.
        ours = min(cp(layer, rank, generator=seed(n), tolerance=1e-6).error for n in range(3))
        assert ours <= error * (1 + slack)


def test_a_vector_and_a_matrix_are_exact() -> None:
    torch.manual_seed(0)
    # One input channel and one tap: a kernel with one side is a vector, of rank 1.
    assert cp(nn.Conv2d(1, 5, 1).double(), 1, generator=seed()).relative_error < 1e-12
    # With two sides it is a matrix: at most as near as Eckart and Young say, and no nearer.
    layer = nn.Conv1d(4, 5, 1).double()
    values = torch.linalg.svdvals(layer.weight.detach()[:, :, 0])
    found = cp(layer, 2, generator=seed(), tolerance=1e-14)
    assert found.error == pytest.approx(float(values[2:].norm()), rel=1e-6)


def test_the_start_is_the_generators() -> None:
    layer = convolution()
    one, again, other = (cp(layer, 3, generator=seed(n), max_sweeps=3) for n in (0, 0, 1))
    assert torch.equal(one.layer[0].weight, again.layer[0].weight)
    assert not torch.equal(one.layer[0].weight, other.layer[0].weight)


def test_bad_input_is_named() -> None:
    layer = convolution()
    for rank in (0, 61):
        with pytest.raises(UsageError, match=r"rank is(?s:.)*from 1 to 60, the full rank"):
            cp(layer, rank, generator=seed())
    with pytest.raises(UsageError, match="max_sweeps"):
        cp(layer, 1, generator=seed(), max_sweeps=0)
    with pytest.raises(UsageError, match="tolerance"):
        cp(layer, 1, generator=seed(), tolerance=-1.0)
    with pytest.raises(UsageError, match="Linear"):
        cp(nn.Linear(3, 3), 1, generator=seed())
    with pytest.raises(UsageError, match="groups"):
        cp(nn.Conv2d(4, 4, 3, groups=2), 1, generator=seed())
