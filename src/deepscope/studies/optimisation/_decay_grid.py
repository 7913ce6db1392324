"""A grid of learning rates and weight decays, trained at once, and the network that its validation images choose."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.data import Samples
from deepscope.instruments import kernel
from deepscope.models import MLP
from deepscope.studies.optimisation._decay_training import Recipe, train
from deepscope.studies.optimisation._network_batch import NetworkBatch, cross_entropies
from deepscope.studies.optimisation._split_images import SplitImages
from deepscope.subject import Subject

#: Both ends of each are worse than what lies between, on the mean over the seeds that were explored.
RATES = tuple(0.005 * 2**power for power in range(6))
#: 0, and those that each form of Adam is given: coupled decays count in units of the gradient.
DECAYS = {
    "adam-l2": (0.0, *(0.0005 * 2**power for power in range(6))),
    "adamw": (0.0, *(0.0625 * 2**power for power in range(6))),
}
N_JACOBIAN = 256


@dataclass(frozen=True, eq=False)
class Scores:
    """Cross-entropy in nats and accuracy of each network of a grid, [rates, decays]."""

    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    def chosen(self, columns: slice = slice(None)) -> tuple[int, int]:
        """Return the place of the least validation loss among some columns, the first of equals."""
        part = self.validation[:, columns]
        row, column = np.unravel_index(int(np.argmin(part)), part.shape)
        return int(row), int(column)


def search(model: MLP, images: SplitImages, *, steps: int, batch_size: int, seed: int) -> dict[str, Any]:
    """Train all of the grid from one initial network, and return what the chosen networks score.

    Returns
    -------
    dict
        For ``adam-l2`` and ``adamw`` as prefix: ``_loss``, ``_accuracy``: of the network with the least validation
        loss, on the test images; ``_rate``, ``_decay``: where it stands, as places in the grid; ``_map``: validation
        losses [rates, decays]. ``none_loss``, ``none_accuracy``, ``none_rate``: of the best without decay. ``jacobian``
        and ``jacobian_rescaled``: see ``jacobian_ratios``, of AdamW's chosen network, None where that has no decay.
    """
    recipes = {
        (method, *place): Recipe(method, RATES[place[0]], decays[place[1]])
        for method, decays in DECAYS.items()
        for place in itertools.product(range(len(RATES)), range(len(decays)))
    }
    networks = train(model, list(recipes.values()), images.train, steps=steps, batch_size=batch_size, seed=seed)
    shape = (len(DECAYS), len(RATES), -1)
    validation, _ = (each.reshape(shape) for each in evaluated(networks, images.validation))
    test, accuracy = (each.reshape(shape) for each in evaluated(networks, images.test))
    found: dict[str, Any] = {}
    for index, method in enumerate(DECAYS):
        scores = Scores(validation[index], test[index], accuracy[index])
        place = scores.chosen()
        found |= {
            f"{method}_loss": float(scores.test[place]),
            f"{method}_accuracy": float(scores.accuracy[place]),
            f"{method}_rate": place[0],
            f"{method}_decay": place[1],
            f"{method}_map": scores.validation,
        }
    # Without decay both forms are one: the first column of either.
    bare = scores.chosen(slice(1))
    found |= {
        "none_loss": float(scores.test[bare]),
        "none_accuracy": float(scores.accuracy[bare]),
        "none_rate": bare[0],
    }
    order = list(recipes)
    decayed, bare_twin = (order.index(("adamw", place[0], column)) for column in (place[1], 0))
    ratios = jacobian_ratios(model, networks, decayed, bare_twin, images.validation) if place[1] else None
    found["jacobian"], found["jacobian_rescaled"] = ratios or (None, None)
    return found


@torch.no_grad()
def evaluated(networks: NetworkBatch, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean cross-entropy and the accuracy of each network, [networks]."""
    loss, right = torch.zeros(2, networks.count, dtype=torch.float64, device=samples.inputs.device)
    for inputs, targets in samples.batches(1000):
        logits = networks(inputs.flatten(1))
        loss += cross_entropies(logits, targets).double().sum(1)
        right += (logits.argmax(-1) == targets).double().sum(1)
    return (loss / len(samples)).cpu().numpy(), (right / len(samples)).cpu().numpy()


def jacobian_ratios(
    model: MLP, networks: NetworkBatch, decayed: int, bare: int, samples: Samples
) -> tuple[float, float]:
    """Return the log ratios of ‖∂f/∂θ‖, over the same images, of a network with decay to one without.

    The norm is √(Σ ‖∂f(x)/∂θ‖²), a trace of the tangent kernel. The second ratio is that of the network with decay
    after its layers have been made as long as those of the other, which multiplies its outputs by a number.
    """
    one, other = networks.weights(decayed), networks.weights(bare)
    base = tangent_norm(model, other, samples)
    norms = tangent_norm(model, one, samples), tangent_norm(model, with_norms_of(one, other), samples)
    return float(np.log(norms[0] / base)), float(np.log(norms[1] / base))


def tangent_norm(model: MLP, weights: dict[str, Tensor], samples: Samples) -> float:
    """Return √(Σ ‖∂f(x)/∂θ‖²) over the first images."""
    network = copy.deepcopy(model)
    network.load_state_dict(weights)
    subject = Subject(network, data=samples.batches(N_JACOBIAN))
    return float(np.sqrt(kernel(subject, N_JACOBIAN, outputs="trace").trace))


def with_norms_of(weights: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a perceptron whose matrices have the norms of another's, and whose outputs are a multiple.

    Rectifiers pass a positive factor on: with layers multiplied by c₁, c₂, …, biases are by c₁, c₁c₂, ….
    """
    found, factor = {}, 1.0
    for name in [each.removesuffix(".weight") for each in weights if each.endswith(".weight")]:
        own = (other[f"{name}.weight"].norm() / weights[f"{name}.weight"].norm()).item()
        factor *= own
        found[f"{name}.weight"] = weights[f"{name}.weight"] * own
        found[f"{name}.bias"] = weights[f"{name}.bias"] * factor
    return found
