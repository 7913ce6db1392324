"""The loss on straight lines between solutions, with their units as they are and put in one order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepscope.core import MeasurementError
from deepscope.instruments import mode_connectivity
from deepscope.studies.generalisation._ensemble_cases import LATE, MEMBERS
from deepscope.studies.generalisation._ensemble_networks import Images, Network, Weights, weights_of
from deepscope.subject import Subject


def barriers(networks: list[Network], images: Images, points: int, generator: torch.Generator) -> dict[str, Any]:
    """Return barriers of the training loss, and how far apart networks are.

    Returns
    -------
    dict
        ``barrier_inits``, ``barrier_matched``: between neighbours, networks 0 and 1, 2 and 3 and so on, as they are and
        after weight matching, means; ``barrier_late``: between the start and the end of the last third of a training,
        mean over the first five networks; ``barrier_reordered``, ``barrier_restored``: between network 0 and a copy
        with its hidden units in another order, before and after weight matching. ``distance_inits``,
        ``distance_matched``, ``distance_reordered``: the distances that belong to them, over the norm of the weights.
        A barrier is the largest excess of the loss over the chord, in nats.
    """
    pairs = list(zip(networks[::2], networks[1::2], strict=False))
    plain, matched = (
        [_line(one, weights_of(other.model), images, points, align=align) for one, other in pairs]
        for align in (False, True)
    )
    late = [_line(each, _third_before(each), images, points) for each in networks[:MEMBERS]]
    copy = reordered(weights_of(networks[0].model), generator)
    moved, restored = (_line(networks[0], copy, images, points, align=align) for align in (False, True))

    def mean(lines: list[tuple[float, float]], place: int) -> float:
        return float(np.mean([line[place] for line in lines]))

    return {
        "barrier_inits": mean(plain, 0),
        "barrier_matched": mean(matched, 0),
        "barrier_late": mean(late, 0),
        "barrier_reordered": moved[0],
        "barrier_restored": restored[0],
        "distance_inits": mean(plain, 1),
        "distance_matched": mean(matched, 1),
        "distance_reordered": moved[1],
    }


def _line(network: Network, other: Weights, images: Images, points: int, *, align: bool = False) -> tuple[float, float]:
    subject = Subject(network.model, images.train.batches(len(images.train)), functional.cross_entropy)
    found = mode_connectivity(subject, dict(other), points=points, align=align, max_samples=None)
    norm = math.sqrt(sum(value.square().sum().item() for value in weights_of(network.model).values()))
    height = found.barrier.above_chord
    if height is None:
        raise MeasurementError(found.barrier.status, where=subject.name, todo="Lower the learning rate.")
    return height, found.distance / norm


def _third_before(network: Network) -> Weights:
    epochs = len(network.snapshots)
    return network.snapshots[epochs - 1 - round(LATE * epochs)]


def reordered(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the weights of the same function with the units of both hidden layers in a random order.

    >>> from torch import nn
    >>> from deepscope.models import MLP
    >>> model, x = MLP(4, [8, 8], 3), torch.randn(5, 4)
    >>> copy = reordered(weights_of(model), torch.Generator().manual_seed(0))
    >>> torch.allclose(torch.func.functional_call(model, copy, (x,)), model(x), atol=1e-6)
    True
    """
    found = dict(weights)
    for layer, following in (("hidden1", "hidden2"), ("hidden2", "output")):
        order = torch.randperm(len(found[f"{layer}.bias"]), generator=generator)
        order = order.to(found[f"{layer}.bias"].device)
        for part in ("weight", "bias"):
            found[f"{layer}.{part}"] = found[f"{layer}.{part}"][order]
        found[f"{following}.weight"] = found[f"{following}.weight"][:, order]
    return found
