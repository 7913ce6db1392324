"""A perceptron learns a few images, with dropout of its hidden units or without, in equally many steps."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from deepscope.core import Case, UsageError, derive_seed
from deepscope.data import Samples, load
from deepscope.models import MLP
from deepscope.subject import seeded_generators
from deepscope.training import Dropout, evaluate, fit


def images(case: Case, seed: int, device: torch.device) -> dict[str, Any]:
    """Return ``test_accuracy``, ``test_loss``, ``train_accuracy`` and ``train_loss``, in evaluation mode.

    All arms of a seed have the same images, initial weights and batches.

    Raises
    ------
    UsageError
        There are not as many training images.
    """
    data = load(case.data)
    if not 1 <= case.n_train <= len(data.train):
        raise UsageError(
            f"{case.n_train} training images are asked for", where=case.data, todo=f"Give 1 to {len(data.train)}."
        )
    generator = torch.Generator().manual_seed(derive_seed(seed, "images"))
    chosen = torch.randperm(len(data.train), generator=generator)[: case.n_train]
    train = Samples(data.train.inputs[chosen].to(device), data.train.targets[chosen].to(device))
    test = Samples(data.test.inputs[: case.n_test].to(device), data.test.targets[: case.n_test].to(device))
    with seeded_generators(derive_seed(seed, "weights")):
        model = dropped_perceptron(train.inputs[0].numel(), case.width, len(data.classes), case.rate).to(device)
    epochs = train.epochs(case.batch_size, seed=derive_seed(seed, "batches"))
    fit(
        model,
        epochs,
        data.loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True),
        epochs=max(1, case.steps // len(epochs(0))),
        seed=derive_seed(seed, "training"),
    )
    found: dict[str, Any] = {}
    for name, part in (("test", test), ("train", train)):
        score = evaluate(model, part.batches(1000), data.loss)
        found |= {f"{name}_accuracy": score.accuracy, f"{name}_loss": score.loss}
    return found


def dropped_perceptron(n_inputs: int, width: int, n_classes: int, rate: float) -> nn.Sequential:
    """Return a perceptron of two hidden layers of rectifiers with dropout behind each.

    Examples
    --------
    >>> [name for name, _ in dropped_perceptron(4, 3, 2, 0.5).named_children()]
    ['flatten', 'hidden1', 'activation1', 'dropout1', 'hidden2', 'activation2', 'dropout2', 'output']
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in MLP(n_inputs, [width, width], n_classes).named_children():
        layers[name] = layer
        if name.startswith("activation"):
            layers[name.replace("activation", "dropout")] = Dropout(rate)
    return nn.Sequential(layers)
