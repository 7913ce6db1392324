"""Spectral convolution on graphs by Chebyshev polynomials."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._graph import check_graph, check_weights, small_graph, symmetric
from deepscope.models._neighbour_sum import neighbour_sum
from deepscope.models._sizes import positive, probability


class ChebyshevConvolution(nn.Module):
    """Spectral convolution on a graph: y = Σₖ Tₖ(L̃) x Θₖ for k = 0 … K, with the Chebyshev polynomials Tₖ.

    L = I − D^(−1/2) A D^(−1/2) is the graph's Laplacian and L̃ = 2 L / λ − I: with the eigenvectors U and eigenvalues Λ
    of L, y = U g(Λ) Uᵀ x with g(Λ) = Σₖ Θₖ Tₖ(2 Λ / λ − 1), computed without them. yᵢ depends on nodes at most K edges
    away. ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, out_features], each direction of an
    undirected edge being in ``edges``, with one weight where there are ``weights`` [edges]. For a node without
    neighbours L x = x. There are (K + 1) in · out parameters, drawn as by Glorot. Costs
    2 (K + 1) nodes · in · out + 2 K edges · min(in, out) operations per sample.
    Source: ``defferrard2016convolutional``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after.
    order
        K, the polynomials' degree; the paper's K is one more.
    largest_eigenvalue
        λ, at least the largest eigenvalue of the graph's Laplacian; 2 is, for every graph. Another one changes what a
        parameter means, not which filters there are.

    Raises
    ------
    UsageError
        A size below 1, an order below 0, an eigenvalue outside (0, 2]; when called: what is not a graph, weights that
        are not one for each edge, finite and at least 0.

    Examples
    --------
    >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    >>> layer = ChebyshevConvolution(5, 4, order=3)
    >>> layer(torch.zeros(3, 5), path).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 4]), 80)
    """

    def __init__(self, in_features: int, out_features: int, *, order: int = 2, largest_eigenvalue: float = 2.0) -> None:
        super().__init__()
        positive(order + 1, "order + 1", self)
        if not 0 < largest_eigenvalue <= 2:
            raise UsageError(
                f"largest_eigenvalue is {largest_eigenvalue}",
                where="ChebyshevConvolution",
                todo="Give a number above 0 and at most 2, which no Laplacian exceeds.",
            )
        self.in_features = positive(in_features, "in_features", self)
        self.out_features = positive(out_features, "out_features", self)
        self.largest_eigenvalue = largest_eigenvalue
        self.filters = nn.ModuleList(nn.Linear(in_features, out_features, bias=False) for _ in range(order + 1))
        for each in self.filters:
            nn.init.xavier_uniform_(each.get_parameter("weight"))

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return y, [..., nodes, out_features]."""
        check_graph(x, edges, self.in_features, self)
        check_weights(weights, edges.shape[1], self)
        each = x.new_ones(edges.shape[1]) if weights is None else weights.to(x.dtype)
        operator = _Rescaled(edges, symmetric(edges, each, x.shape[-2]), self.largest_eigenvalue)
        # The same sum in two orders: the products with L̃ are taken where there are fewer features.
        return self._forward(x, operator) if self.in_features < self.out_features else self._clenshaw(x, operator)

    def _forward(self, x: Tensor, operator: _Rescaled) -> Tensor:
        y: Tensor = self.filters[0](x)
        before, now = x, x
        for number, filtered in enumerate(list(self.filters)[1:]):
            before, now = now, 2 * operator(now) - before if number else operator(x)
            y = y + filtered(now)
        return y

    def _clenshaw(self, x: Tensor, operator: _Rescaled) -> Tensor:
        highest, *between = [cast(Tensor, filtered(x)) for filtered in reversed(self.filters)]
        if not between:
            return highest
        after, now = torch.zeros_like(highest), highest
        for coefficient in between[:-1]:
            after, now = now, coefficient + 2 * operator(now) - after
        return between[-1] + operator(now) - after


class _Rescaled:
    """L̃ x = (2/λ − 1) x − (2/λ) D^(−1/2) A D^(−1/2) x."""

    def __init__(self, edges: Tensor, coefficients: Tensor, largest_eigenvalue: float) -> None:
        self.edges, self.coefficients = edges, -2 / largest_eigenvalue * coefficients
        self.own = 2 / largest_eigenvalue - 1

    def __call__(self, x: Tensor) -> Tensor:
        around = neighbour_sum(x, self.edges, self.coefficients)
        return torch.add(around, x, alpha=self.own) if self.own else around


class ChebNet(nn.Module):
    """Network of spectral convolutions with ReLU between them, as Kipf and Welling compare it on Cora.

    ``network(x, edges)`` maps [..., nodes, features] to logits [..., nodes, classes]; dropout before each layer. With
    two layers of order K it has (K + 1) hidden (features + classes) parameters. By default 1,433 words, 16 hidden
    units, 7 classes and K = 2, 69,120 parameters. The paper's network for images pools its graph as well, by a
    clustering that belongs to the graph; this one keeps the nodes.
    Source: ``defferrard2016convolutional``, ``kipf2017semi``.

    Parameters
    ----------
    features, classes
        Numbers per node, in and out.
    hidden
        Numbers per node between the layers.
    layers
        How many there are.
    order, largest_eigenvalue
        As in ``ChebyshevConvolution``.
    dropout
        Probability with which a number that enters a layer is left out in training.

    Raises
    ------
    UsageError
        As ``ChebyshevConvolution``; a probability outside [0, 1).

    Examples
    --------
    >>> network = ChebNet()
    >>> network(torch.zeros(3, 1433), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([3, 7])
    >>> sum(p.numel() for p in network.parameters())
    69120
    """

    def __init__(
        self,
        features: int = 1433,
        classes: int = 7,
        *,
        hidden: int = 16,
        layers: int = 2,
        order: int = 2,
        largest_eigenvalue: float = 2.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * (positive(layers, "layers", self) - 1), classes]
        self.layers = nn.ModuleList(
            ChebyshevConvolution(fan_in, fan_out, order=order, largest_eigenvalue=largest_eigenvalue)
            for fan_in, fan_out in pairwise(widths)
        )
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the logits of each node, [..., nodes, classes]."""
        for number, layer in enumerate(self.layers):
            x = layer(self.dropout(self.activation(x) if number else x), edges, weights)
        return x


SPECIMENS = (
    Specimen(
        name="chebnet",
        title="spectral convolutions on a graph by Chebyshev polynomials",
        build=ChebNet,
        inputs=small_graph(12, 1433),
        parameters=69_120,
        formula="y = Σₖ Tₖ(L̃) x Θₖ for k = 0 … K with T₀ = 1, T₁ = t, Tₖ = 2 t Tₖ₋₁ − Tₖ₋₂ and L̃ = 2 L / λ − I of "
        "the Laplacian L = I − D^(−1/2) A D^(−1/2): a filter of the graph's frequencies, the eigenvalues of "
        "L, that reaches K edges far.",
        source="defferrard2016convolutional",
        rows=("spectral-graph-conv",),
        pinned_by="tests/models/test_chebnet.py::test_it_filters_the_spectrum_and_repeated_means_smooth_at_its_second_rate",
    ),
)
