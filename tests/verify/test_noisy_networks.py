"""Networks for digits whose weights have noise of learnt variance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deepscope.data import load
from deepscope.training import Adam, VariationalLinear, fit

pytestmark = pytest.mark.verify

DIGITS = load("digits")


def gradient_variance(layer: VariationalLinear, batch: int, *, local: bool) -> float:
    """Sum over weights and their variances of the variance of one batch's gradient, over 300 draws of the noise."""
    x, labels = DIGITS.train.inputs[:batch].flatten(1), DIGITS.train.targets[:batch]
    parameters, draws = [layer.weight, layer.log_variance], []
    for _ in range(300):
        if local:
            outputs = layer(x)
        else:
            noise = torch.randn_like(layer.weight) * (layer.log_variance / 2).exp()
            outputs = nn.functional.linear(x, layer.weight + noise, layer.bias)
        gradients = torch.autograd.grad(cross_entropy(outputs, labels), parameters)
        draws.append(torch.cat([each.flatten() for each in gradients]))
    return torch.stack(draws).var(0).sum().item()


def trained(seed: int, *, divergence: bool) -> tuple[nn.Sequential, list[VariationalLinear]]:
    """Train a network of 64 units; the divergence comes in over the first third, or all is noise before it learns."""
    torch.manual_seed(seed)
    layers = [VariationalLinear(64, 64, log_variance=-8.0), VariationalLinear(64, 10, log_variance=-8.0)]
    model, n, epochs, steps = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1]), len(DIGITS.train), 150, 0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        share = min(1.0, 3 * steps / (epochs * 10)) if divergence else 0.0
        return cross_entropy(outputs, targets) + share * sum(each.divergence() for each in layers) / n

    optimizer = Adam(model.parameters(), lr=5e-3)
    fit(model, DIGITS.train.epochs(-(-n // 10), seed=seed), loss, optimizer=optimizer, epochs=epochs)
    return model.eval(), layers


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    return (model(DIGITS.test.inputs).argmax(1) == DIGITS.test.targets).double().mean().item()


def noise(layers: list[VariationalLinear]) -> list[Tensor]:
    """Which weights are left out: log α above 3, as in ``molchanov2017variational``."""
    return [each.log_alpha() > 3 for each in layers]


def share(masks: list[Tensor]) -> float:
    return torch.cat([each.flatten() for each in masks]).double().mean().item()


@torch.no_grad()
def leave_out(layers: list[VariationalLinear], masks: list[Tensor]) -> None:
    for layer, mask in zip(layers, masks, strict=True):
        layer.weight[mask] = 0


@pytest.mark.demonstrates("variational-dropout")
def test_noise_of_outputs_is_less_and_four_fifths_of_weights_can_go() -> None:
    """Noise of outputs against noise of weights drawn once for the batch: a quarter of the batch's size at least.

    Three networks lose more than 80 % of their weights and at most half a point of accuracy. Without the divergence
    almost none would be left out; as many weights at random would take half of the accuracy with them.
    """
    torch.manual_seed(0)
    layer = VariationalLinear(64, 10, log_variance=-4.0)
    for batch in (16, 128):
        drawn, local = (gradient_variance(layer, batch, local=each) for each in (False, True))
        assert drawn / local >= batch / 4

    for seed in range(3):
        model, layers = trained(seed, divergence=True)
        before, masks = accuracy(model), noise(layers)
        kept = [each.weight.detach().clone() for each in layers]
        leave_out(layers, masks)
        after = accuracy(model)
        assert share(masks) > 0.8
        assert before > 0.93
        assert before - after <= 0.005
        with torch.no_grad():
            for each, weight in zip(layers, kept, strict=True):
                each.weight.copy_(weight)
        leave_out(layers, [mask.flatten()[torch.randperm(mask.numel())].view_as(mask) for mask in masks])
        assert accuracy(model) < 0.5
        assert share(noise(trained(seed, divergence=False)[1])) < 0.05
