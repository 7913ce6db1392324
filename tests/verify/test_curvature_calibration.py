"""Intervals of a network's curvature cover what they say, over many draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian
from torch.nn import functional

from deepscope import Subject
from deepscope.instruments import curvature

pytestmark = pytest.mark.verify

DRAWS = 2000


def network() -> tuple[Subject, torch.Tensor]:
    """Return a tanh network, whose trace has to be estimated, and its Hessian."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3)).double()
        x, y = torch.randn(16, 4).double(), torch.arange(16) % 3
    names = [name for name, _ in model.named_parameters()]
    sizes = [each.numel() for each in model.parameters()]
    shapes = [each.shape for each in model.parameters()]

    def loss(theta: torch.Tensor) -> torch.Tensor:
        parts = [part.view(shape) for part, shape in zip(torch.split(theta, sizes), shapes, strict=True)]
        return functional.cross_entropy(functional_call(model, dict(zip(names, parts, strict=True)), (x,)), y)

    theta = torch.cat([each.detach().reshape(-1) for each in model.parameters()])
    return Subject(model, [(x, y)], functional.cross_entropy), hessian(loss)(theta)


def test_the_traces_of_a_network_and_of_its_layers_are_covered() -> None:
    subject, H = network()
    true = float(H.trace())
    layers = [float(part.sum()) for part in torch.split(H.diagonal(), [60, 39])]
    hits = torch.zeros(3)
    scores = []
    for seed in range(DRAWS):
        found = curvature(
            subject,
            top=1,
            bottom=0,
            tolerance=10.0,
            density=False,
            per_layer=False,
            sharp=False,
            trace_products=64,
            generator=torch.Generator().manual_seed(seed),
        )
        assert found.trace_method == "estimated from 64 products"
        seen = [(found.trace, found.trace_stderr, true)]
        seen += [(each.trace, each.trace_stderr, value) for each, value in zip(found.layers, layers, strict=True)]
        hits += torch.tensor([float(abs(value - at) <= 1.96 * stderr) for value, stderr, at in seen])
        scores.append((found.trace - true) / found.trace_stderr)
    for share in hits / DRAWS:
        assert 0.93 <= share <= 0.97
    # Unbiased: the scores' mean has a standard error of 1/√2000, four of which are passed once in 16,000 times. A
    # skewed estimate is smaller where its own standard error is: the mean shifts by about skewness/(2·√64).
    assert abs(sum(scores) / DRAWS) <= 4 / math.sqrt(DRAWS) + 0.05


def test_the_bounds_on_the_number_of_negative_directions_hold() -> None:
    subject, H = network()
    eigenvalues = torch.linalg.eigvalsh(H)
    draws, hits = 400, 0
    for seed in range(draws):
        found = curvature(
            subject,
            top=1,
            bottom=0,
            tolerance=10.0,
            n_probes=4,
            n_steps=12,
            per_layer=False,
            sharp=False,
            trace_products=2,
            generator=torch.Generator().manual_seed(seed),
        )
        assert found.n_products < found.n_parameters
        negative = found.negative
        hits += negative.low <= int((eigenvalues < negative.threshold).sum()) <= negative.high
    # A certified bound covers at least 95 %; three binomial standard errors of 400 draws below that.
    assert hits / draws >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws)
