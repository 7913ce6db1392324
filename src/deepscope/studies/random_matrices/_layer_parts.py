"""What a network can do with only a part of its square layer in place, and where the layer's spikes point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from deepscope.data import Samples


def parts(
    weight: Tensor, initial: Tensor, inputs: Tensor, n_spikes: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Take a square matrix W = Σ sᵢ uᵢ vᵢᵀ apart; W restricted to a subspace of its inputs is W times the projector.

    Parameters
    ----------
    weight, initial
        W as trained and as it started, [out, in].
    inputs
        What the layer is given, [samples, in].
    n_spikes
        Rank of every part but the whole, the rest and the initial weights.
    rng
        Draws the random subspace.

    Returns
    -------
    dict
        ``"whole"``: W. ``"spikes"``: the terms of the ``n_spikes`` largest sᵢ. ``"rest"``: the others. ``"principal"``:
        W restricted to the principal directions of its inputs, without centring. ``"unlearned"``: the initial weights
        restricted to the spikes' input directions. ``"initial"``: the initial weights. ``"random"``: W restricted to a
        random subspace.
    """
    exact = weight.double()
    u, s, vt = torch.linalg.svd(exact)
    spikes = (u[:, :n_spikes] * s[:n_spikes]) @ vt[:n_spikes]
    drawn = torch.linalg.qr(torch.from_numpy(rng.standard_normal((len(vt), n_spikes))))[0].T
    found = {
        "whole": exact,
        "spikes": spikes,
        "rest": exact - spikes,
        "principal": _restricted(exact, principal_directions(inputs, n_spikes)),
        "unlearned": _restricted(initial.double(), vt[:n_spikes]),
        "initial": initial,
        "random": _restricted(exact, drawn),
    }
    return {name: part.to(weight.dtype) for name, part in found.items()}


def _restricted(weight: Tensor, directions: Tensor) -> Tensor:
    return weight @ directions.T @ directions


def principal_directions(inputs: Tensor, count: int) -> Tensor:
    """Return the orthonormal directions along which inputs, [samples, features], are largest, [count, features]."""
    exact = inputs.double()
    ascending: Tensor = torch.linalg.eigh(exact.T @ exact)[1].T
    return ascending.flip(0)[:count]


@torch.no_grad()
def layer_inputs(model: Any, samples: Samples) -> Tensor:
    """Return what the square layer is given, [samples, width]."""
    batches = (model.flatten(batch) for batch, _ in samples.batches(4096))
    return torch.cat([model.activation1(model.hidden1(batch)) for batch in batches])


@torch.no_grad()
def outputs(model: Any, samples: Samples) -> Tensor:
    """Return the network's outputs, [samples, classes]."""
    return torch.cat([model(inputs) for inputs, _ in samples.batches(4096)])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of samples whose largest output is that of their class."""
    return float((logits.argmax(1) == labels).double().mean())


def best_cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Return the smallest mean cross-entropy, in nats, of positive multiples of the outputs.

    A part of a layer changes the size of the outputs, and with it how sure they are; the best multiple takes this out.
    Outputs of zero, which say nothing, have the logarithm of the number of classes.
    """
    exact = logits.double()
    size = float(exact.square().mean().sqrt())
    if not size:
        return math.log(exact.shape[1])
    found = minimize_scalar(
        lambda log: float(cross_entropy(math.exp(log) / size * exact, labels)), bounds=(-5.0, 7.0), method="bounded"
    )
    return float(found.fun)


def without_parts(model: Any, replacements: dict[str, Tensor], samples: Samples) -> dict[str, float]:
    """Return ``accuracy_…`` and ``cross_entropy_…`` (in nats, at its best scale) with each part as the square layer.

    The layer is left as it was.
    """
    weight, found = model.hidden2.weight.data, {}
    kept = weight.clone()
    for name, part in replacements.items():
        weight.copy_(part)
        logits = outputs(model, samples)
        found[f"accuracy_{name}"] = accuracy(logits, samples.targets)
        found[f"cross_entropy_{name}"] = best_cross_entropy(logits, samples.targets)
    weight.copy_(kept)
    return found


def overlaps(weight: Tensor, inputs: Tensor, labels: Tensor, n_spikes: int) -> dict[str, float | None]:
    """Return how much of some directions lies in the span of the class means of the layer's inputs.

    Returns
    -------
    dict
        ``overlap_spikes``: of the spikes' input directions. ``overlap_principal``: of as many principal directions of
        the inputs, which know no label. None where there is no spike.
    """
    if not n_spikes:
        return {"overlap_spikes": None, "overlap_principal": None}
    means = class_means(inputs, labels)
    return {
        "overlap_spikes": overlap(torch.linalg.svd(weight.double())[2][:n_spikes], means),
        "overlap_principal": overlap(principal_directions(inputs, n_spikes), means),
    }


def class_means(inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean input of each class, [classes, features], in float64."""
    return torch.stack([inputs[labels == label].double().mean(0) for label in sorted(set(labels.tolist()))])


def overlap(directions: Tensor, vectors: Tensor) -> float:
    """Return the mean squared length of unit vectors, [k, features], projected onto the span of others.

    Parameters
    ----------
    directions
        Unit vectors, one per row.
    vectors
        Linearly independent vectors that span the subspace, one per row.

    Returns
    -------
    float
        1 inside the subspace, 0 orthogonal to it; for a random direction dimension / features on average, and for k
        orthonormal ones at most dimension / k.
    """
    basis = torch.linalg.qr(vectors.T)[0]
    return float((directions @ basis).square().sum(1).mean())
