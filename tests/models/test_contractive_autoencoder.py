"""Contractive autoencoders: the penalty is the exact norm of the code's derivative."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from contract import overfits
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import (
    Autoencoder,
    Objective,
    contractive_loss,
    contractive_penalty,
    encoder_jacobian,
    reconstruction_error,
)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def autograds(model: Autoencoder, x: Tensor) -> Tensor:
    return torch.stack([torch.autograd.functional.jacobian(lambda v: model.encode(v[None])[0], each) for each in x])


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "gelu", "silu", "elu", "relu", "sin"])
def test_the_penalty_is_the_norm_of_autograds_jacobian(hidden: tuple[int, ...], activation: str) -> None:
    torch.manual_seed(0)
    model = Autoencoder(6, hidden, 3, activation=activation, code_activation=activation).double()
    # Far enough out that slopes of both signs occur.
    x = 5 * numbers(4, 6)
    jacobians = autograds(model, x)
    assert jacobians.abs().max() > 1e-3
    # Products of a few matrices of order 1 in double precision.
    torch.testing.assert_close(encoder_jacobian(model, x), jacobians, rtol=0, atol=1e-14)
    torch.testing.assert_close(contractive_penalty(model, x), jacobians.square().sum() / 4, rtol=1e-13, atol=0)


def test_one_layer_has_the_papers_formula() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(6, (), 3, code_activation="sigmoid").double(), numbers(4, 6)
    naive = 0.0
    for code in model.encode(x).tolist():
        for h, row in zip(code, model.encoder.output.weight.tolist(), strict=True):
            naive += sum((h * (1 - h) * w) ** 2 for w in row) / 4
    assert contractive_penalty(model, x).item() == pytest.approx(naive, rel=1e-13)


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_its_gradient_is_right(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(4, hidden, 3, code_activation="sigmoid").double(), numbers(2, 4)
    assert torch.autograd.gradcheck(lambda *weights: contractive_penalty(model, x), tuple(model.encoder.parameters()))
    # The same without a graph, as an evaluation has it.
    with torch.no_grad():
        alone = contractive_penalty(model, x)
    assert not alone.requires_grad
    torch.testing.assert_close(alone, contractive_penalty(model, x).detach(), rtol=1e-14, atol=0)


def test_it_contracts() -> None:
    found = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        model, x = Autoencoder(6, (), 8, code_activation="sigmoid"), numbers(16, 6).float().sigmoid()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(300):
            optimizer.zero_grad()
            contractive_loss(model, x, weight=weight).backward()
            optimizer.step()
        found.append((float(contractive_penalty(model, x)), float(reconstruction_error(model, x))))
    # Codes that change less tell less of the input: both, against the same network without the penalty.
    assert found[1][0] < found[0][0] / 3
    assert found[1][1] > found[0][1]


def test_the_loss_is_the_sum_of_its_terms() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(6, (5,), 3).double(), numbers(4, 6)
    terms = reconstruction_error(model, x) + 0.3 * contractive_penalty(model, x)
    torch.testing.assert_close(contractive_loss(model, x, weight=0.3), terms, rtol=1e-14, atol=0)


def test_it_overfits_sixteen_samples() -> None:
    torch.manual_seed(0)
    model, x = Autoencoder(8, (), 32, code_activation="sigmoid"), numbers(16, 8).float().sigmoid()
    # Small weights at a large decoder make the penalty as small as wanted: the least loss is 0.
    loss = partial(contractive_loss, weight=0.01)
    overfits(Objective(model, loss), x, x, Objective.value, steps=1500, rate=0.03, below=2e-2)


def test_bad_input_is_refused() -> None:
    model = Autoencoder(6, (), 3)
    with pytest.raises(UsageError, match="weight"):
        contractive_loss(model, torch.zeros(2, 6), weight=-0.1)
    for of in (contractive_penalty, contractive_loss):
        with pytest.raises(UsageError, match="x is"):
            of(model, torch.zeros(0, 6))
    for of in (contractive_penalty, encoder_jacobian):
        with pytest.raises(UsageError, match="6"):
            of(model, torch.zeros(2, 5))
