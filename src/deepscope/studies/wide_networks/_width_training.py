"""Perceptrons of any width in the parametrisations compared, trained at many learning rates at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError, nearest
from deepscope.models import MLP
from deepscope.training import cosine, maximal_update, width_factors

#: Arm, and the kind of tensors that it leaves as the standard parametrisation has them.
ARMS = {"standard": None, "mup": "none", "hidden as standard": "hidden", "output as standard": "output"}
#: Of Adam.
BETAS, EPS = (0.9, 0.999), 1e-8


def perceptron(width: int) -> MLP:
    """Return a network of three hidden layers, two matrices between them grow with the width along both axes."""
    return MLP(64, (width, width, width), 10, activation="tanh")


def parametrise(network: nn.Module, base: nn.Module, arm: str) -> list[float]:
    """Rescale a network's initial weights as an arm has them; return the factor on each parameter's rate."""
    if arm not in ARMS:
        raise UsageError("unknown arm", where=arm, todo=nearest(arm, ARMS))
    named = dict(network.named_parameters())
    if arm == "standard":
        return [1.0] * len(named)
    factors = width_factors(network, base)
    groups = maximal_update(network, base, lr=1.0)
    rates = {id(each): float(group["lr"]) for group in groups for each in group["params"]}
    for name, parameter in named.items():
        if factors[name].kind == ARMS[arm]:
            rates[id(parameter)] = 1.0
            with torch.no_grad():
                parameter.div_(factors[name].initial)
    return [rates[id(parameter)] for parameter in named.values()]


def train_at_rates(
    network: nn.Module, factors: Sequence[float], rates: Tensor, batches: Sequence[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """Train copies of a perceptron by Adam, each at a rate of its own, one step on each batch; return their weights.

    The rate falls to 0 along half a cosine. Where a copy's loss is not finite, its weights are not either.

    Parameters
    ----------
    factors
        On the rate, of each parameter.
    rates
        [copies].

    Returns
    -------
    list
        One tensor for each parameter, [copies, …].
    """
    weights = [each.detach().expand(len(rates), *each.shape).clone() for each in network.parameters()]
    steps = [factor * rates.view(-1, *[1] * (each.ndim - 1)) for factor, each in zip(factors, weights, strict=True)]
    means, squares = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    schedule = cosine(len(batches))
    for t, (x, y) in enumerate(batches, start=1):
        gradients = torch.func.grad(lambda given, x=x, y=y: losses(given, x, y).sum())(weights)
        corrections = [1 - beta**t for beta in BETAS]
        for weight, step, mean, square, g in zip(weights, steps, means, squares, gradients, strict=True):
            mean.lerp_(g, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            root = (square / corrections[1]).sqrt_().add_(EPS)
            weight.sub_(mean.div(root).mul_(step * (schedule(t - 1) / corrections[0])))
    return weights


def losses(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of each copy, [copies]."""
    copies = len(weights[0])
    h = x.flatten(1).expand(copies, -1, -1)
    for index in range(0, len(weights), 2):
        h = torch.baddbmm(weights[index + 1].unsqueeze(1), h if index == 0 else h.tanh(), weights[index].mT)
    each = functional.cross_entropy(h.flatten(0, 1), y.repeat(copies), reduction="none")
    return each.view(copies, -1).mean(1)
