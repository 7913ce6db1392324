"""Networks of quadratic polynomials, as the group method of data handling makes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_vectors, positive

#: Coefficients of a quadratic polynomial of two variables.
TERMS = 6

Pairs = Sequence[tuple[int, int]]


class QuadraticUnits(nn.Module):
    """Units that are quadratic polynomials of two sources each: w₀ + w₁ a + w₂ b + w₃ ab + w₄ a² + w₅ b².

    Maps [batch, sources] to [batch, units]. There are 6 parameters a unit, and a sample costs 14 operations for each.
    They begin normal with variance 1/6. Source: ``ivakhnenko1971polynomial``.

    Parameters
    ----------
    pairs
        The two sources of each unit, counted from 0; at least one unit.

    Raises
    ------
    UsageError
        No pair, or a negative number in one.

    Examples
    --------
    >>> units = QuadraticUnits([(0, 1), (1, 2)])
    >>> units(torch.zeros(5, 3)).shape, sum(p.numel() for p in units.parameters())
    (torch.Size([5, 2]), 12)
    """

    pairs: Tensor

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        if not pairs or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
            raise UsageError(
                f"pairs is {list(pairs)}", where="QuadraticUnits", todo="Give two numbers of sources for each unit."
            )
        self.register_buffer("pairs", torch.tensor(list(pairs)))
        self.weight = nn.Parameter(torch.randn(len(pairs), TERMS) / TERMS**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the polynomials."""
        return polynomials(x, self.pairs, self.weight)


class GMDH(nn.Module):
    """Network of the group method of data handling: layers of quadratic polynomials of two variables each.

    Maps [batch, …] to [batch, units of the last layer]; what follows the batch dimension is flattened. The sources of a
    layer are the inputs, numbered from 0 to in_features − 1, and then the units of the layer before. So the degree
    doubles with each layer at most. There are 6 parameters a unit. ``grow_gmdh`` finds pairs and weights from data; the
    defaults are a network that such data may give, x₀ and x₁ in a first unit, this and x₂ in a second. In the paper a
    layer sees the layer before alone; with the inputs as well an input that was no help at first is not lost.
    Source: ``ivakhnenko1971polynomial``.

    Parameters
    ----------
    in_features
        Number of values per sample.
    pairs
        For each layer, the two sources of each of its units.

    Raises
    ------
    UsageError
        No layer, a layer without units, a source that its layer does not have; when called: an input of another size or
        not of floating-point numbers.

    Examples
    --------
    >>> model = GMDH()
    >>> model(torch.zeros(5, 10)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 1]), 12)
    """

    def __init__(self, in_features: int = 10, pairs: Sequence[Pairs] = (((0, 1),), ((10, 2),))) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        if not pairs:
            raise UsageError("there is no layer", where="GMDH", todo="Give pairs for at least one.")
        self.layers = nn.ModuleList(QuadraticUnits(each) for each in pairs)
        for number, (before, each) in enumerate(pairwise([(), *pairs]), start=1):
            sources = in_features + len(before)
            if max(max(pair) for pair in each) >= sources:
                raise UsageError(
                    f"layer {number} has the pairs {list(each)}",
                    where="GMDH",
                    todo=f"Its sources are numbered from 0 to {sources - 1}: the inputs, then the layer before.",
                )

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's units."""
        check_vectors(x, self.in_features, self)
        x = x.flatten(1)
        units = x[:, :0]
        for layer in self.layers:
            units = layer(torch.cat([x, units], 1))
        return units

    def inputs_used(self) -> list[int]:
        """Return the inputs that some unit reads, ascending."""
        read = torch.cat([layer.get_buffer("pairs").flatten() for layer in self.layers])
        return sorted({int(source) for source in read if source < self.in_features})


def polynomials(x: Tensor, pairs: Tensor, weight: Tensor) -> Tensor:
    """Return the polynomials of pairs of columns, [n, pairs]."""
    a, b = x[:, pairs[:, 0]], x[:, pairs[:, 1]]
    w = weight.T
    return w[0] + a * (w[1] + w[3] * b + w[4] * a) + b * (w[2] + w[5] * b)


SPECIMENS = (
    Specimen(
        name="gmdh",
        title="network of quadratic polynomials, by the group method of data handling",
        build=GMDH,
        inputs=values(10),
        parameters=12,
        formula="Units w₀ + w₁ a + w₂ b + w₃ ab + w₄ a² + w₅ b² of two sources a and b, which are inputs or units of "
        "the layer before. Each pair is fitted by least squares; the units that err least on other samples are kept, "
        "and layers are added until their least error no longer falls.",
        source="ivakhnenko1971polynomial",
        rows=("gmdh",),
        pinned_by="tests/models/test_gmdh.py::test_a_quadratic_polynomial_is_recovered_and_growth_ends_at_its_layer",
    ),
)
