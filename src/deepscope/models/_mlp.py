"""Multilayer perceptron."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values


class MLP(nn.Sequential):
    """Multilayer perceptron: h₀ = x, hᵢ = φ(Wᵢ hᵢ₋₁ + bᵢ), y = W h + b.

    Maps [batch, …] to [batch, out_features]: what follows the batch dimension is flattened. With widths
    d₀ = in_features, d₁, …, d_k = out_features it has Σᵢ dᵢ (dᵢ₋₁ + 1) parameters. The layers are called ``flatten``,
    ``hidden1``, ``activation1``, …, ``output``; they are initialised as torch does.
    Source: ``rumelhart1986learning``.

    Parameters
    ----------
    in_features
        Number of values per sample.
    hidden
        Widths of the hidden layers; none for a linear model.
    out_features
        Number of outputs.
    activation
        φ: ``"elu"``, ``"gelu"``, ``"identity"``, ``"leaky-relu"``, ``"mish"``, ``"relu"``, ``"selu"``, ``"sigmoid"``,
        ``"silu"`` (or ``"swish"``), ``"sin"``, ``"softplus"``, ``"softsign"`` or ``"tanh"``.
    bias
        Whether the layers have a bias b.

    Raises
    ------
    UsageError
        A width below 1, or an unknown activation.

    Examples
    --------
    >>> import torch
    >>> model = MLP(28 * 28, [300, 100], 10)
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 266610)
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        *,
        activation: str = "relu",
        bias: bool = True,
    ) -> None:
        widths = [in_features, *hidden, out_features]
        if min(widths) < 1:
            raise UsageError(f"the layers' widths are {widths}", where="MLP", todo="Give widths of at least 1.")
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for index, (fan_in, width) in enumerate(zip(widths[:-2], hidden, strict=True), start=1):
            layers[f"hidden{index}"] = nn.Linear(fan_in, width, bias=bias)
            layers[f"activation{index}"] = make_activation(activation)
        layers["output"] = nn.Linear(widths[-2], out_features, bias=bias)
        super().__init__(layers)


def lenet_300_100() -> MLP:
    """Return the perceptron of 784, 300, 100 and 10 units for handwritten digits; 266,610 parameters.

    Source: ``lecun1998gradient``.

    Examples
    --------
    >>> lenet_300_100().hidden1
    Linear(in_features=784, out_features=300, bias=True)
    """
    return MLP(28 * 28, (300, 100), 10, activation="tanh")


SPECIMENS = (
    Specimen(
        name="mlp",
        title="multilayer perceptron",
        build=lenet_300_100,
        inputs=values(1, 28, 28),
        parameters=266_610,
        formula=(
            "h₀ = x, hᵢ = φ(Wᵢ hᵢ₋₁ + bᵢ), y = W h + b: linear maps with an activation φ between them, applied to each "
            "number of its own. With widths d₀, …, d_k it has Σᵢ dᵢ (dᵢ₋₁ + 1) parameters."
        ),
        source="rumelhart1986learning",
        pinned_by="tests/models/test_models.py::test_mlp_computes_its_formula",
    ),
)
