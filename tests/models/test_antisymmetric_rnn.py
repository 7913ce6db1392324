"""Antisymmetric recurrent networks: states that last."""

from __future__ import annotations

import pytest
import torch
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import AntisymmetricRNN, RNNCell, antisymmetric_rnn_128


def slope(layer: AntisymmetricRNN, h: Tensor, x: Tensor) -> Tensor:
    """The equation behind the layer: what a step adds, per time."""
    return (layer.step(x[None], h[None])[0][0] - h) / layer.step_size


@pytest.mark.parametrize("diffusion", [0.0, 0.2])
def test_what_the_state_holds_neither_explodes_nor_vanishes(diffusion: float) -> None:
    torch.manual_seed(0)
    layer, x, h = AntisymmetricRNN(2, 12, diffusion=diffusion).double(), numbers(2), numbers(12, seed=1)
    real = torch.linalg.eigvals(torch.autograd.functional.jacobian(lambda each: slope(layer, each, x), h)).real
    # The eigenvalues are those of a matrix that is normal for γ = 0 up to a diagonal one: rounding moves them little.
    assert real.max() <= 1e-10
    assert real.min() >= -diffusion - 1e-10

    # The gradient of the last state with respect to the first, over 500 steps of 0.01: the product of Jacobians
    # 1 + ε J, whose norm is at least (1 − γ ε)⁵⁰⁰ where A alone would keep it, and grows by ε² |A|² / 2 a step.
    inputs = numbers(1, 500, 2)

    def last(start: Tensor, model: AntisymmetricRNN | RNNCell) -> Tensor:
        return model.scan(inputs, start[None])[1][0]

    sizes = torch.linalg.svdvals(torch.autograd.functional.jacobian(lambda each: last(each, layer), h))
    assert sizes.max() < 20
    assert sizes.min() > 0.02
    # Planted: an ordinary layer with weights of the same scale forgets all.
    ordinary = RNNCell(2, 12).double()
    sizes = torch.linalg.svdvals(torch.autograd.functional.jacobian(lambda each: last(each, ordinary), h))
    assert sizes.max() < 1e-6


@pytest.mark.parametrize("gated", [False, True])
def test_it_computes_its_formula(gated: bool) -> None:
    torch.manual_seed(0)
    layer = AntisymmetricRNN(3, 4, step=0.3, diffusion=0.2, gated=gated).double()
    layer.bias.data.normal_()
    x, h = numbers(6, 3), torch.zeros(4, dtype=torch.float64)
    W = torch.zeros(4, 4, dtype=torch.float64)
    values = iter(layer.weight_hh)
    for i in range(4):
        for j in range(i + 1, 4):
            W[i, j] = next(values)
    A = W - W.T - 0.2 * torch.eye(4, dtype=torch.float64)
    V, b = layer.weight_ih, layer.bias
    outputs = layer(x[None])[0]
    for t in range(6):
        change = torch.tanh(A @ h + V[:4] @ x[t] + b[:4])
        if gated:
            change = change * torch.sigmoid(A @ h + V[4:] @ x[t] + b[4:])
        h = h + 0.3 * change
        torch.testing.assert_close(outputs[t], h, rtol=0, atol=1e-13)
    assert sum(each.numel() for each in layer.parameters()) == 6 + 4 * 4 * (1 + gated)


def test_its_parameters_are_as_many_as_in_the_paper() -> None:
    n = sum(each.numel() for each in antisymmetric_rnn_128().parameters()) + 10 * (128 + 1)
    assert round(n / 1000) == 10


@pytest.mark.parametrize("gated", [False, True])
def test_it_is_a_recurrence(gated: bool) -> None:
    torch.manual_seed(0)
    make = lambda: AntisymmetricRNN(3, 5, step=0.5, gated=gated).eval()  # noqa: E731
    reads_step_by_step(make())
    scans_in_sight(make())
    assert sees_no_later_step(make())
    refuses_what_does_not_fit(make())


def test_overfit() -> None:
    torch.manual_seed(0)
    learns_16_sequences(AntisymmetricRNN(2, 12, step=0.3), 12)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="hidden_size is 0"):
        AntisymmetricRNN(3, 0)
    for wrong in ({"step": 0}, {"diffusion": -1}):
        with pytest.raises(UsageError, match="AntisymmetricRNN\nGive a finite step"):
            AntisymmetricRNN(3, 5, **wrong)
