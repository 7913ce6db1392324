from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deepscope.core import MeasurementError, UsageError
from deepscope.training import cp, fit, low_rank, tucker2

X = torch.randn(3, 4, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded(make, *arguments, **settings):
    torch.manual_seed(0)
    return make(*arguments, **settings).double()


#: Strides, paddings and dilations of one and two and three dimensions, with the layer's inputs.
CONVOLUTIONS = {
    "1d": (lambda: seeded(nn.Conv1d, 4, 5, 3, stride=2, padding=1), X[:, :, :, 0]),
    "2d": (lambda: seeded(nn.Conv2d, 4, 5, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)), X),
    "same": (lambda: seeded(nn.Conv2d, 4, 5, 3, padding="same", bias=False), X),
    "circular": (lambda: seeded(nn.Conv2d, 4, 5, 3, padding=(2, 1), padding_mode="circular"), X),
    "reflect": (lambda: seeded(nn.Conv2d, 4, 5, 3, padding=1, padding_mode="reflect", dilation=2), X),
    "3d": (lambda: seeded(nn.Conv3d, 4, 3, 2, padding=1), X[..., None].expand(-1, -1, -1, -1, 3)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_at_full_rank_each_factorisation_is_the_layer(kind: str) -> None:
    make, x = CONVOLUTIONS[kind]
    layer = make()
    outputs, inputs, taps = layer.weight.shape[0], 4, layer.weight[0, 0].numel()
    state = torch.get_rng_state()
    founds = [
        low_rank(layer, min(outputs, inputs * taps)),
        tucker2(layer, min(inputs, outputs * taps), outputs),
        cp(layer, layer.weight.numel() // max(layer.weight.shape), generator=torch.Generator().manual_seed(0)),
    ]
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        expected = layer(x)
        for found in founds:
            assert (found.layer(x) - expected).abs().max() < 1e-10
            assert found.relative_error < 1e-10
            assert found.converged
            assert [name for name, _ in found.layer[-1].named_parameters()] == [n for n, _ in layer.named_parameters()]
            assert all(each.bias is None for each in found.layer[:-1])
            assert all(each.requires_grad for each in found.layer.parameters())


@pytest.mark.parametrize("kind", ["linear", *CONVOLUTIONS])
def test_the_error_is_that_of_the_dropped_singular_values(kind: str) -> None:
    layer = seeded(nn.Linear, 6, 9) if kind == "linear" else CONVOLUTIONS[kind][0]()
    matrix = layer.weight.detach().flatten(1)
    values = torch.linalg.svdvals(matrix)
    for rank in range(1, len(values) + 1):
        found = low_rank(layer, rank)
        first, second = (each.weight.detach().flatten(1) for each in found.layer)
        difference = matrix - second @ first
        # Sums of some tens of products of order 1.
        expected = math.sqrt(float(values[rank:].square().sum()))
        assert found.error == pytest.approx(expected, abs=1e-12)
        assert float(difference.norm()) == pytest.approx(expected, abs=1e-12)
        spectral = float(torch.linalg.matrix_norm(difference, 2))
        assert spectral == pytest.approx(float(values[rank]) if rank < len(values) else 0.0, abs=1e-12)
        assert found.relative_error == pytest.approx(expected / float(matrix.norm()), abs=1e-12)
        # The scale is shared evenly.
        assert float(first.norm()) == pytest.approx(float(second.norm()), rel=1e-12)


def test_no_other_matrix_of_the_rank_is_nearer() -> None:
    layer = seeded(nn.Linear, 6, 9)
    found = low_rank(layer, 2)
    generator = torch.Generator().manual_seed(1)
    left, right = (each.weight.detach() for each in reversed(found.layer))
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            moved = [
                each + size * torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in (left, right)
            ]
            assert float((layer.weight.detach() - moved[0] @ moved[1]).norm()) > found.error


def test_it_takes_the_layers_place_and_is_trained() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2))
    x = torch.randn(16, 6)
    found = low_rank(model[0], 2)
    before = sum(each.numel() for each in model.parameters())
    model.set_submodule("0", found.layer)
    assert before - sum(each.numel() for each in model.parameters()) == 6 * 9 - 2 * (6 + 9)
    assert found.layer[0].weight.dtype == torch.float32
    history = fit(
        model,
        lambda epoch: [(x, x[:, :2])],
        nn.functional.mse_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        epochs=50,
    )
    assert history.loss[-1] < 0.5 * history.loss[0]


def test_a_layer_of_zeros_has_no_error() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    found = low_rank(layer, 1)
    assert (found.error, found.relative_error) == (0.0, 0.0)
    assert bool((found.layer(torch.ones(1, 3)) == layer.bias).all())


def test_bad_input_is_named() -> None:
    layer = seeded(nn.Linear, 6, 9)
    for rank in (0, -1, 7, 2.0, True):
        with pytest.raises(UsageError, match=r"rank is(?s:.)*from 1 to 6, the full rank"):
            low_rank(layer, rank)
    with pytest.raises(UsageError, match="BatchNorm2d"):
        low_rank(nn.BatchNorm2d(3), 1)
    with pytest.raises(UsageError, match="ConvTranspose2d"):
        low_rank(nn.ConvTranspose2d(3, 3, 2), 1)
    with pytest.raises(UsageError, match="2 groups"):
        low_rank(nn.Conv2d(4, 4, 3, groups=2), 1)
    with torch.no_grad():
        layer.weight[0, 0] = math.nan
    with pytest.raises(MeasurementError, match="not finite"):
        low_rank(layer, 1)
