"""How far the weights of networks lie apart that differ in nothing but where weight decay enters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from deepscope.data import Samples
from deepscope.studies.optimisation._decay_training import Recipe, train
from deepscope.studies.optimisation._network_batch import NetworkBatch

#: Gradient descent's and Adam's rates and decays, and the decays that Adam's coupled form is tried with.
SGD_RATE, SGD_DECAY = 0.1, 0.02
ADAM_RATE, ADAM_DECAY = 0.01, 0.5
RESCALED = tuple(float(each) for each in np.logspace(-5, 0, 20))


def distances(model: torch.nn.Module, samples: Samples, *, steps: int, batch_size: int, seed: int) -> dict[str, Any]:
    """Return ‖θ − θ'‖/‖θ'‖ after training for pairs of networks, in the precision of model and samples.

    Returns
    -------
    dict
        ``sgd``: L2 against decoupled decay, gradient descent without momentum. ``sgd_decay``: decoupled decay against
        none. ``sgd_none``, ``adam_none``: the two forms against each other without decay. ``adam``: coupled decay
        against decoupled, the least over ``rescaled`` coupled decays; ``adam_by_decay``: each of them.
    """
    recipes = {
        "sgd-l2": Recipe("sgd-l2", SGD_RATE, SGD_DECAY),
        "sgdw": Recipe("sgdw", SGD_RATE, SGD_DECAY),
        "sgd-l2 0": Recipe("sgd-l2", SGD_RATE, 0.0),
        "sgdw 0": Recipe("sgdw", SGD_RATE, 0.0),
        "adamw": Recipe("adamw", ADAM_RATE, ADAM_DECAY),
        "adam-l2 0": Recipe("adam-l2", ADAM_RATE, 0.0),
        "adamw 0": Recipe("adamw", ADAM_RATE, 0.0),
        **{f"adam-l2 {index}": Recipe("adam-l2", ADAM_RATE, decay) for index, decay in enumerate(RESCALED, start=1)},
    }
    networks = train(model, list(recipes.values()), samples, steps=steps, batch_size=batch_size, seed=seed)
    place = {name: index for index, name in enumerate(recipes)}

    def between(first: str, second: str) -> float:
        return relative_distance(networks, place[first], place[second])

    by_decay = [between(f"adam-l2 {index}", "adamw") for index in range(1, len(RESCALED) + 1)]
    return {
        "sgd": between("sgd-l2", "sgdw"),
        "sgd_decay": between("sgdw", "sgdw 0"),
        "sgd_none": between("sgd-l2 0", "sgdw 0"),
        "adam_none": between("adam-l2 0", "adamw 0"),
        "adam": min(by_decay),
        "adam_by_decay": by_decay,
        "rescaled": list(RESCALED),
    }


def relative_distance(networks: NetworkBatch, first: int, second: int) -> float:
    """Return the distance of two networks' weights over the norm of the second's."""
    one, other = (torch.cat([each.flatten() for each in networks.network(index)]) for index in (first, second))
    return float((one - other).norm() / other.norm())
