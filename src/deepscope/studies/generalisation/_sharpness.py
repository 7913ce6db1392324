"""How sharp a solution is by the measures in use, and what becomes of them when its layers are rescaled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from deepscope.data import Samples
from deepscope.instruments import Curvature, curvature, noise
from deepscope.models import MLP
from deepscope.subject import Subject

Floats = NDArray[np.float64]
#: Samples that are measured at a time, which changes no result.
AT_ONCE = 1200


def sharpness_of(model: MLP, samples: Samples, *, factor: float, distances: Floats) -> dict[str, Any]:
    """Measure a perceptron with at least two hidden layers of rectified units, and the same function in other weights.

    Parameters
    ----------
    model, samples
        The solution, and what its loss is the mean cross-entropy of; on one device.
    factor
        By how much the layers are rescaled, as in ``rescaled``.
    distances
        Where the loss along the sharpest direction is measured, [points].

    Returns
    -------
    dict
        ``eigenvalue``: the largest of the Hessian, None where it did not converge. ``trace``: the Hessian's.
        ``keskar``, ``sam``, ``adaptive``: as in ``deepscope.instruments.curvature``. ``invariant``: see
        ``invariant_sharpness``. ``gradient_noise``: tr Σ, Σ the covariance of the gradients of single samples.
        ``valley``: losses, [points]. ``rescaled_eigenvalue``, ``rescaled_trace``, ``rescaled_invariant``: those of the
        rescaled layers. ``rescaled_outputs``: by how much the outputs changed at most, over the largest of them.

    Notes
    -----
    Costs some 40 products of the Hessian, 15 gradients and a forward pass per distance.
    """
    found = _curvature(model, samples, sharp=True)
    assert found.sharpness is not None
    other = rescaled(model, factor)
    moved = _curvature(other, samples, sharp=False)
    with torch.no_grad():
        outputs, others = model(samples.inputs), other(samples.inputs)
    return {
        "eigenvalue": _largest(found),
        "trace": found.trace,
        "keskar": found.sharpness.keskar,
        "sam": found.sharpness.sam,
        "adaptive": found.sharpness.adaptive,
        "invariant": invariant_sharpness(model, samples),
        "gradient_noise": noise(_subject(model, samples), max_samples=None, probes=0).noise,
        "valley": losses_along(model, samples, found.direction(0), distances),
        "rescaled_eigenvalue": _largest(moved),
        "rescaled_trace": moved.trace,
        "rescaled_invariant": invariant_sharpness(other, samples),
        "rescaled_outputs": float((others - outputs).abs().max() / outputs.abs().max()),
    }


def rescaled(model: MLP, factor: float) -> MLP:
    """Return a copy with the first layer's parameters divided by a factor and the second's weights multiplied by it.

    With rectified units it is the same function (``dinh2017sharp``).

    >>> model = MLP(3, [4, 4], 2)
    >>> torch.allclose(rescaled(model, 5.0)(torch.ones(1, 3)), model(torch.ones(1, 3)), atol=1e-5)
    True
    """
    other: Any = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.hidden1.parameters():
            parameter.div_(factor)
        other.hidden2.weight.mul_(factor)
    return other  # type: ignore[no-any-return]


def invariant_sharpness(model: nn.Module, samples: Samples) -> float:
    """Return Σ ‖W‖² tr H_W over the weight matrices W, with H_W the Hessian's diagonal block and Frobenius norms.

    H_W/α² is the block at αW where another layer is divided by α, so that no rescaling of layers that leaves the
    function as it is changes the sum.
    """
    found = _curvature(model, samples, sharp=False, only="*.weight")
    weights = dict(model.named_parameters())
    squares = {layer.name: weights[f"{layer.name}.weight"].detach().double().square().sum() for layer in found.layers}
    return sum(float(squares[layer.name]) * layer.trace for layer in found.layers if layer.trace is not None)


def losses_along(
    model: nn.Module, samples: Samples, direction: Mapping[str, NDArray[Any]], distances: Floats
) -> Floats:
    """Return the mean of the losses so far along a direction and as far the other way, [points].

    An eigenvector has no sign.
    """
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    steps = {name: torch.as_tensor(direction[name]).to(value) for name, value in parameters.items()}

    def loss(distance: float) -> float:
        point = {name: value + distance * steps[name] for name, value in parameters.items()}
        outputs: Any = functional_call(model, point, (samples.inputs,))
        return float(functional.cross_entropy(outputs, samples.targets))

    with torch.no_grad():
        return np.array([(loss(each) + loss(-each)) / 2 for each in distances.tolist()])


def _curvature(model: nn.Module, samples: Samples, *, sharp: bool, only: str = "*") -> Curvature:
    return curvature(
        _subject(model, samples).only(only),
        top=1,
        bottom=0,
        density=False,
        per_layer=False,
        sharp=sharp,
        vectors=sharp,
        max_samples=None,
    )


def _subject(model: nn.Module, samples: Samples) -> Subject:
    return Subject(model, samples.batches(AT_ONCE), functional.cross_entropy)


def _largest(found: Curvature) -> float | None:
    return float(found.eigenvalues[0]) if found.converged else None
