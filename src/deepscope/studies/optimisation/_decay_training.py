"""Networks trained side by side by gradient descent and Adam, with coupled and with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, nearest
from deepscope.data import Samples
from deepscope.studies.optimisation._network_batch import NetworkBatch
from deepscope.training import SGD, Adam, AdamW, cosine

#: What updates the weights: the optimiser, and whether the decay is taken beside it, as no optimiser of torch does for
#: plain gradient descent.
METHODS: dict[str, tuple[type[torch.optim.Optimizer], bool]] = {
    "sgd-l2": (SGD, False),
    "sgdw": (SGD, True),
    "adam-l2": (Adam, False),
    "adamw": (AdamW, False),
}


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes
    ----------
    method
        ``"sgd-l2"`` or ``"adam-l2"``: the decay is a part of the gradient; ``"sgdw"`` or ``"adamw"``: weights are
        multiplied by 1 − learning_rate · decay at each step, beside the update.
    learning_rate
        At first; it falls to 0 along half a cosine.
    decay
        λ.
    """

    method: str
    learning_rate: float
    decay: float


def train(
    model: nn.Module, recipes: Sequence[Recipe], samples: Samples, *, steps: int, batch_size: int, seed: int
) -> NetworkBatch:
    """Return the networks that all recipes make of one initial network, with the same batches for all.

    Raises
    ------
    UsageError
        An unknown method.
    """
    networks = NetworkBatch([model] * len(recipes))
    optimizers = [
        _optimizer(method, recipes, networks) for method in dict.fromkeys(recipe.method for recipe in recipes)
    ]
    schedule = cosine(steps)
    for step, (inputs, targets) in enumerate(batches(samples, batch_size, steps, seed)):
        networks.differentiate(inputs.flatten(1), targets)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step) * group["first_rate"]
                torch._foreach_mul_(group["params"], 1 - group["lr"] * group["beside"])
            optimizer.step()
    return networks


def batches(samples: Samples, batch_size: int, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield so many batches, epoch after epoch."""
    epochs = samples.epochs(batch_size, seed=seed)
    done, epoch = 0, 0
    while done < steps:
        for batch in epochs(epoch):
            if done < steps:
                yield batch
            done += 1
        epoch += 1


def _optimizer(method: str, recipes: Sequence[Recipe], networks: NetworkBatch) -> torch.optim.Optimizer:
    """Return the optimiser of all networks of one method, each a group of its own."""
    if method not in METHODS:
        raise UsageError("unknown method", where=method, todo=nearest(method, METHODS))
    make, beside = METHODS[method]
    groups: list[dict[str, Any]] = [
        {
            "params": networks.network(index),
            "lr": recipe.learning_rate,
            "first_rate": recipe.learning_rate,
            "weight_decay": 0.0 if beside else recipe.decay,
            "beside": recipe.decay if beside else 0.0,
        }
        for index, recipe in enumerate(recipes)
        if recipe.method == method
    ]
    return make(groups, fused=True)  # type: ignore[call-arg]
