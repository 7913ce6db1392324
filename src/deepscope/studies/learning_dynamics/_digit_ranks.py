"""The local rank of wide networks that learn digits, with and without weight decay, and random labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepscope.core import Case, TrialRun
from deepscope.data import Samples, load
from deepscope.models import MLP
from deepscope.studies.learning_dynamics._hidden_layers import jacobians, network, ranks
from deepscope.studies.learning_dynamics._snapshots import Snapshots, snapshot_epochs
from deepscope.training import fit

WIDTHS = (64, 100, 100, 100, 10)
#: Weight decay of the arm that has one.
DECAY = 2e-3


def digit_trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a wide tanh network on digits; return the ranks of its last hidden layer's Jacobians at test images."""
    digits = load("digits")
    chosen = torch.randperm(len(digits.train), generator=run.generator)[: case.images]
    images, targets = digits.train.inputs[chosen].flatten(1).double(), digits.train.targets[chosen]
    mean, deviation = images.mean(), images.std()
    images, unseen = (images - mean) / deviation, (digits.test.inputs.flatten(1).double() - mean) / deviation
    probes = unseen[torch.randperm(len(unseen), generator=run.generator)[: case.points]]
    model = network(WIDTHS, "tanh", run.generator)
    untrained = [parameter.detach().clone() for parameter in model.parameters()]
    if case.arm == "random labels":
        targets = torch.randint(10, targets.shape, generator=run.generator)

    def look(model: MLP) -> tuple[dict[str, float], float]:
        return ranks(jacobians(model, probes)[-1]), _accuracy(model, images, targets)

    snapshots = Snapshots(snapshot_epochs(case.epochs, case.snapshots), look)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=case.learning_rate,
        momentum=0.9,
        weight_decay=DECAY if case.arm == "weight decay" else 0.0,
    )
    fit(
        model,
        Samples(images, targets, digits.name).epochs(case.batch, seed=run.seed),
        functional.cross_entropy,
        optimizer=optimizer,
        epochs=case.epochs,
        callbacks=[snapshots],
        seed=run.seed,
    )
    test_accuracy = _accuracy(model, unseen, digits.test.targets)
    _rescale(untrained, model)
    rescaled = ranks(jacobians(model, probes)[-1])["participation"]
    first, last = snapshots.seen[0][0], snapshots.seen[-1][0]
    return {
        "epoch": np.array(snapshots.epochs, dtype=float),
        "accuracy": np.array([accuracy for _, accuracy in snapshots.seen]),
        "rank": np.array([found["participation"] for found, _ in snapshots.seen]),
        **{f"log_{name}": math.log(value) for name, value in last.items()},
        "log_fall": math.log(last["participation"] / first["participation"]),
        "log_rescaled": math.log(rescaled / first["participation"]),
        "train_accuracy": snapshots.seen[-1][1],
        "test_accuracy": test_accuracy,
    }


@torch.no_grad()
def _accuracy(model: MLP, images: Tensor, targets: Tensor) -> float:
    return float((model(images).argmax(dim=1) == targets).double().mean())


@torch.no_grad()
def _rescale(untrained: list[Tensor], model: MLP) -> None:
    """Give the model its untrained weights, each matrix as large as the trained one; biases are 0."""
    for parameter, old in zip(model.parameters(), untrained, strict=True):
        parameter.copy_(old * parameter.norm() / old.norm() if old.ndim > 1 else old)
