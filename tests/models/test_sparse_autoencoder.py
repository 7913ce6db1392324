"""Sparse autoencoders: units are active as often as they are asked to be."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import overfits
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import Autoencoder, Objective, reconstruction_error, sparse_loss, sparsity_penalty
from deepscope.training import fit


def patches(n: int) -> Tensor:
    return torch.rand(n, 8, generator=torch.Generator().manual_seed(0))


def trained(weight: float) -> tuple[Autoencoder, Tensor]:
    torch.manual_seed(0)
    model, x = Autoencoder(8, (), 6, code_activation="sigmoid"), patches(64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    loss = partial(sparse_loss, sparsity=0.1, weight=weight)
    fit(Objective(model, loss), lambda epoch: [(x, x)], Objective.value, optimizer=optimizer, epochs=400)
    return model, model.encode(x).mean(0).detach()


def test_training_brings_mean_activities_to_the_sparsity() -> None:
    model, activities = trained(3.0)
    # The row's tolerance; the penalty's minimum is at 0.1, and the reconstruction pulls away from it.
    assert (activities - 0.1).abs().max() < 0.02
    # The mean of all samples would leave 8/12, the variance of 8 uniform numbers.
    assert reconstruction_error(model, patches(64)).item() < 8 / 12
    # Without it they stay where they are useful.
    assert (trained(0.0)[1] - 0.1).abs().min() > 0.1


def test_the_penalty_is_the_divergence_of_coins() -> None:
    code = torch.tensor([[0.1, 0.9], [0.3, 0.5]], dtype=torch.float64)
    naive = sum(p * math.log(p / q) for q in (0.2, 0.7) for p, q in ((0.05, q), (0.95, 1 - q)))
    assert float(sparsity_penalty(code, 0.05)) == pytest.approx(naive, rel=1e-14)
    assert float(sparsity_penalty(torch.full((3, 2), 0.05, dtype=torch.float64), 0.05)) == pytest.approx(0, abs=1e-15)
    assert float(sparsity_penalty(torch.zeros(3, 2), 0.05)) == math.inf


def test_the_loss_is_the_sum_of_its_terms() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(8, (), 6, code_activation="sigmoid").double(), patches(16).double()
    terms = reconstruction_error(model, x) / 2 + 3 * sparsity_penalty(model.encode(x), 0.05)
    torch.testing.assert_close(sparse_loss(model, x), terms, rtol=1e-14, atol=0)


def test_it_overfits_sixteen_samples() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(8, (), 32, code_activation="sigmoid"), patches(16)
    loss = partial(sparse_loss, sparsity=0.2, weight=1.0)
    overfits(Objective(model, loss), x, x, Objective.value, steps=1500, rate=0.03, below=3e-2)


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.1, math.nan])
def test_a_sparsity_outside_of_0_and_1_is_refused(sparsity: float) -> None:
    with pytest.raises(UsageError, match="sparsity"):
        sparsity_penalty(torch.full((3, 2), 0.5), sparsity)


def test_bad_input_is_refused() -> None:
    model = Autoencoder(8, (), 6)
    with pytest.raises(UsageError, match="from 0 to 1"):
        sparse_loss(model, 10 * patches(16) - 5)
    with pytest.raises(UsageError, match="weight"):
        sparse_loss(model, patches(16), weight=-1)
    with pytest.raises(UsageError, match="x is"):
        sparsity_penalty(torch.zeros(0, 2), 0.5)
    with pytest.raises(UsageError, match="x is"):
        sparse_loss(model, torch.zeros(0, 8))
