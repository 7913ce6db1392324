"""Multilayer perceptrons for digits, as they are drawn and after a short training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepscope.core import TrialRun
from deepscope.data import Dataset
from deepscope.models import MLP

BATCH = 64
LEARNING_RATE = 3e-3


def make(data: Dataset, hidden: Sequence[int], run: TrialRun) -> nn.Module:
    """Return a network with normal weights of variance 2/fan_in (``he2015delving``) and torch's biases."""
    network = MLP(data.train.inputs[0].numel(), hidden, len(data.classes))
    for layer in _linear(network):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=run.generator)
    return network.to(run.device)


def train(network: nn.Module, data: Dataset, rng: np.random.Generator, *, steps: int) -> None:
    """Train with Adam and cross-entropy on batches drawn at random."""
    device = next(network.parameters()).device
    inputs, targets = data.train.inputs.to(device), data.train.targets.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(steps):
        batch = torch.from_numpy(rng.integers(0, len(inputs), BATCH)).to(device)
        loss = nn.functional.cross_entropy(network(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def share_wrong(network: nn.Module, data: Dataset) -> float:
    """Return the share of test images that the network takes for another digit."""
    device = next(network.parameters()).device
    with torch.no_grad():
        answers = network(data.test.inputs.to(device)).argmax(dim=1)
    return float((answers != data.test.targets.to(device)).double().mean())


def layers_of(network: nn.Module) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return weights, [out, in], and biases, [out], of each linear layer in float64."""
    return [(_array(layer.weight), _array(layer.bias)) for layer in _linear(network)]


def _array(values: torch.Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy()


def _linear(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
