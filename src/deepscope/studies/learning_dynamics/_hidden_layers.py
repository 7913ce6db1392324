"""What the hidden layers of a multilayer perceptron hold: their activations, and how they stretch the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepscope.linalg import local_rank
from deepscope.models import MLP

#: A singular value below this share of the largest does not count towards a rank.
NEGLIGIBLE = 0.01
#: Gain of the initial weights, √(gain / inputs) their standard deviation.
GAINS = {"tanh": 1.0, "relu": 2.0}


def network(widths: Sequence[int], activation: str, generator: torch.Generator) -> MLP:
    """Return a float64 network with weights of variance 1/inputs (tanh) or 2/inputs (ReLU), and biases of 0.

    Parameters
    ----------
    widths
        Of the input, the hidden layers and the output.
    activation
        ``"tanh"`` or ``"relu"``.
    generator
        Draws the weights.
    """
    model = MLP(widths[0], widths[1:-1], widths[-1], activation=activation).double()
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                gain = 1.0 if layer is model[-1] else GAINS[activation]
                layer.weight.normal_(0, (gain / layer.in_features) ** 0.5, generator=generator)
                layer.bias.zero_()
    return model


@torch.no_grad()
def activations(model: MLP, inputs: Tensor) -> list[Tensor]:
    """Return what each hidden layer gives, [n, width] each, after its activation function."""
    found = []
    for layer in list(model)[:-1]:
        inputs = layer(inputs)
        if not isinstance(layer, (nn.Linear, nn.Flatten)):
            found.append(inputs)
    return found


@torch.no_grad()
def jacobians(model: MLP, inputs: Tensor) -> list[Tensor]:
    """Return the Jacobian of what each hidden layer gives in the input, [n, width, inputs] each."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)][:-1]
    tanh = any(isinstance(layer, nn.Tanh) for layer in model)
    found = []
    product = torch.eye(layers[0].in_features, dtype=inputs.dtype)
    for layer, values in zip(layers, activations(model, inputs), strict=True):
        slopes = 1 - values.square() if tanh else (values > 0).to(values.dtype)
        product = slopes[..., None] * (layer.weight @ product)
        found.append(product)
    return found


def ranks(jacobian: Tensor) -> dict[str, float]:
    """Return three ranks of Jacobians, each the mean over samples.

    Parameters
    ----------
    jacobian
        [n, width, inputs], with singular values σ.

    Returns
    -------
    dict
        ``"participation"``: (Σσ)²/Σσ², how many singular values there are, were they equal. ``"energy"``: the same of
        σ², (Σσ²)²/Σσ⁴, to which little but the largest ones matter (``deepscope.linalg.local_rank``). ``"count"``: how
        many are above 1 % of the largest. All are r where r are equal and the others 0, and 0 where all are.

    Examples
    --------
    >>> ranks(torch.diag(torch.tensor([3.0, 3.0, 0.0]))[None])
    {'participation': 2.0, 'energy': 2.0, 'count': 2.0}
    """
    sigma = torch.linalg.svdvals(jacobian)
    squares = sigma.square().sum(dim=1)
    participation = torch.where(squares > 0, sigma.sum(dim=1) ** 2 / squares, 0.0)
    counted = sigma > NEGLIGIBLE * sigma[:, :1]
    return {
        "participation": float(participation.mean()),
        "energy": float(local_rank(jacobian).mean()),
        "count": float(counted.sum(dim=1).double().mean()),
    }
