"""Maxout: units that are the largest of several linear functions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors, positive


class Maxout(nn.Module):
    """Layer of maxout units: hᵢ(x) = maxⱼ (wᵢⱼ·x + bᵢⱼ), the largest of k linear pieces.

    Maps […, in_features] to […, out_features]. A unit is convex and piecewise linear, with at most k pieces; with
    enough of them it comes as near as one likes to any convex function on a bounded set, and the difference of two
    units to any continuous one. The rectifier is the unit with pieces x and 0, |x| that with x and −x. There are
    k · out_features (in_features + 1) parameters, k times those of a linear layer, and so many times the cost. The
    pieces are one ``linear`` layer, those of a unit side by side. Source: ``goodfellow2013maxout``.

    Parameters
    ----------
    in_features
        Number of inputs.
    out_features
        Number of units.
    pieces
        k, at least 1.

    Raises
    ------
    UsageError
        A size below 1.

    Examples
    --------
    >>> import torch
    >>> layer = Maxout(8, 3, pieces=5)
    >>> layer(torch.zeros(2, 8)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 3]), 135)
    """

    def __init__(self, in_features: int, out_features: int, *, pieces: int = 2) -> None:
        super().__init__()
        self.out_features, self.pieces = positive(out_features, "out_features", self), positive(pieces, "pieces", self)
        self.linear = nn.Linear(positive(in_features, "in_features", self), out_features * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest piece of each unit."""
        pieces: Tensor = self.linear(x)
        # amax would share the gradient among equal pieces; each piece has a derivative of its own.
        return pieces.reshape(*x.shape[:-1], self.out_features, self.pieces).max(-1).values


class MaxoutNetwork(nn.Sequential):
    """Network of maxout layers for flat inputs, with dropout before each layer and a linear one at the end.

    Maps [batch, …] to logits [batch, out_features]; what follows the batch dimension is flattened. With widths
    d₀ = in_features, d₁, …, d_m of the hidden layers and k pieces it has Σᵢ k dᵢ (dᵢ₋₁ + 1) + out_features (d_m + 1)
    parameters; a sample costs twice as many operations. The layers are called ``flatten``, ``dropout1``, ``hidden1``,
    …, ``output``. The defaults are the paper's network for permuted digits: two layers of 240 units with 5 pieces, a
    fifth of the inputs and half of the hidden units dropped in training, weights uniform within ±0.005 and biases 0;
    1,233,610 parameters. The paper's limit on the norm of each unit's weights belongs to its training.
    Source: ``goodfellow2013maxout``.

    Parameters
    ----------
    in_features
        Number of values per sample.
    hidden
        Numbers of units of the hidden layers.
    out_features
        Number of outputs.
    pieces
        Linear pieces of each unit, k.
    input_dropout, dropout
        Share of inputs and of hidden units that is dropped in training.

    Raises
    ------
    UsageError
        A size below 1, no hidden layer, a share that is not in [0, 1); when called: an input of another size or not of
        floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> model = MaxoutNetwork()
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 1233610)
    """

    def __init__(
        self,
        in_features: int = 28 * 28,
        hidden: Sequence[int] = (240, 240),
        out_features: int = 10,
        *,
        pieces: int = 5,
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        if not hidden or not 0 <= input_dropout < 1 or not 0 <= dropout < 1:
            raise UsageError(
                f"{len(hidden)} hidden layers, of the inputs {input_dropout} dropped, of hidden units {dropout}",
                where="MaxoutNetwork",
                todo="Give at least one hidden layer, and shares of at least 0 and below 1.",
            )
        positive(out_features, "out_features", self)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for index, (fan_in, width) in enumerate(zip((in_features, *hidden), hidden, strict=False), start=1):
            layers[f"dropout{index}"] = nn.Dropout(input_dropout if index == 1 else dropout)
            layers[f"hidden{index}"] = Maxout(fan_in, width, pieces=pieces)
        layers[f"dropout{len(hidden) + 1}"] = nn.Dropout(dropout)
        layers["output"] = nn.Linear(hidden[-1], out_features)
        super().__init__(layers)
        self.in_features = in_features
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -0.005, 0.005)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, out_features]."""
        check_vectors(x, self.in_features, self)
        for layer in self:
            x = layer(x)
        return x


SPECIMENS = (
    Specimen(
        name="maxout",
        title="maxout network for permuted digits",
        build=MaxoutNetwork,
        inputs=values(1, 28, 28),
        parameters=1_233_610,
        formula="hᵢ(x) = maxⱼ (wᵢⱼ·x + bᵢⱼ): each unit is the largest of k linear functions of its inputs, convex and "
        "piecewise linear. Here 784 → 240 → 240 units of 5 pieces → 10 logits.",
        source="goodfellow2013maxout",
        pinned_by="tests/models/test_maxout.py::test_k_pieces_approximate_a_parabola_as_well_as_k_pieces_can",
    ),
)
