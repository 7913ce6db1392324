"""Self-normalising networks: layers that bring their units' mean to 0 and variance to 1."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors, positive


class SelfNormalisingNetwork(nn.Sequential):
    """Self-normalising network: hᵢ = selu(Wᵢ hᵢ₋₁ + bᵢ), y = W h + b, with weights of mean 0 and variance 1/fan-in.

    selu(z) = λ z for z > 0 and λ α (eᶻ − 1) below, with λ = 1.0507 and α = 1.6733 such that a standard normal z gives
    mean 0 and variance 1 again. Let units of a layer have mean μ and variance ν, and let the weights of a unit of the
    next sum to ω and their squares to τ. In the limit of many units, the next layer's mean and variance are a function
    of these four: for ω = 0 and τ = 1 it has the fixed point (0, 1), which attracts, and it maps −0.1 ≤ μ ≤ 0.1,
    0.8 ≤ ν ≤ 1.5 into itself while |ω| ≤ 0.1 and 0.95 ≤ τ ≤ 1.1.

    Maps [batch, …] to logits [batch, out_features]; what follows the batch dimension is flattened, and should have mean
    0 and variance 1. With widths d₀ = in_features, d₁, …, d_k = out_features it has Σᵢ dᵢ (dᵢ₋₁ + 1) parameters and a
    sample costs twice as many operations. The layers are ``flatten``, ``hidden1``, ``activation1``, ``dropout1``, …,
    ``output``. The defaults are of the grid that the paper searched: 8 layers of 256 units, here for digits; 664,074
    parameters. Source: ``klambauer2017self``.

    Parameters
    ----------
    in_features
        Number of values per sample.
    hidden
        Widths of the hidden layers.
    out_features
        Number of outputs.
    dropout
        Share of units that alpha dropout, in training, sets to the value selu saturates at, −λα; it rescales all so
        that mean and variance stay. There is none at 0.

    Raises
    ------
    UsageError
        A width below 1, a share that is not in [0, 1); when called: an input of another size or not of floating-point
        numbers.

    Examples
    --------
    >>> import torch
    >>> model = SelfNormalisingNetwork()
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 664074)
    """

    def __init__(
        self,
        in_features: int = 28 * 28,
        hidden: Sequence[int] = (256,) * 8,
        out_features: int = 10,
        *,
        dropout: float = 0.0,
    ) -> None:
        if not 0 <= dropout < 1:
            raise UsageError(
                f"dropout is {dropout}", where="SelfNormalisingNetwork", todo="Give a share of at least 0 and below 1."
            )
        widths = [positive(width, "a width", self) for width in (in_features, *hidden, out_features)]
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for index, (fan_in, width) in enumerate(zip(widths[:-2], hidden, strict=True), start=1):
            layers[f"hidden{index}"] = nn.Linear(fan_in, width)
            layers[f"activation{index}"] = nn.SELU()
            if dropout:
                layers[f"dropout{index}"] = nn.AlphaDropout(dropout)
        layers["output"] = nn.Linear(widths[-2], out_features)
        super().__init__(layers)
        self.in_features = in_features
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, out_features]."""
        check_vectors(x, self.in_features, self)
        for layer in self:
            x = layer(x)
        return x


SPECIMENS = (
    Specimen(
        name="self-normalising",
        title="self-normalising network of scaled exponential linear units",
        build=SelfNormalisingNetwork,
        inputs=values(1, 28, 28),
        parameters=664_074,
        formula="hᵢ = selu(Wᵢ hᵢ₋₁ + bᵢ), where selu(z) = λ z for z > 0 and λ α (eᶻ − 1) below, λ = 1.0507, "
        "α = 1.6733, and weights have mean 0 and variance 1/fan-in: mean 0 and variance 1 of the units are a fixed "
        "point that attracts. Here 784 → 8 × 256 → 10 logits.",
        source="klambauer2017self",
        pinned_by="tests/models/test_self_normalising.py::test_mean_0_and_variance_1_are_a_fixed_point_that_attracts",
    ),
)
