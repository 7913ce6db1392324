"""Convolution on hypergraphs, whose edges join any number of nodes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._graph import check_graph, check_weights, degrees, inverse
from deepscope.models._neighbour_sum import neighbour_sum
from deepscope.models._sizes import positive, probability


class HypergraphConvolution(nn.Module):
    """Convolution on a hypergraph: y = D^(−1/2) H W B⁻¹ Hᵀ D^(−1/2) x Θ, or D⁻¹ H W B⁻¹ Hᵀ x Θ.

    H [nodes, hyperedges] is 1 where a node belongs to a hyperedge, W the hyperedges' weights, Dᵢ = Σₑ Hᵢₑ wₑ, Bₑ = Σᵢ
    Hᵢₑ: each hyperedge takes the mean of its nodes, each node that of its hyperedges, both over once more for itself.
    Where every hyperedge joins two nodes and weighs 1, the first is (I + D^(−1/2) A D^(−1/2)) / 2 of the graph.
    ``layer(x, edges)`` maps [..., nodes, in_features] to [..., nodes, out_features]; ``edges`` [2, memberships] int64
    holds (node, hyperedge), ``weights`` one number for each hyperedge, 1 unless given. A node in no hyperedge gets 0. Θ
    has in · out parameters, drawn as by Glorot. Costs 2 nodes · in · out + 4 memberships · min(in, out) operations per
    sample. Source: ``feng2019hypergraph``, ``bai2021hypergraph``.

    Parameters
    ----------
    in_features, out_features
        Numbers per node, before and after.
    normalisation
        ``"symmetric"``: the first, of Feng and others; ``"rows"``: the second, that of Bai and others, by which a
        constant stays one.

    Raises
    ------
    UsageError
        A size below 1, another normalisation; when called: memberships that are none, weights that are not one for
        each hyperedge, finite and at least 0.

    Examples
    --------
    Two hyperedges, of the nodes 0 and 1 and of all three:

    >>> memberships = torch.tensor([[0, 1, 0, 1, 2], [0, 0, 1, 1, 1]])
    >>> layer = HypergraphConvolution(5, 4)
    >>> layer(torch.zeros(3, 5), memberships).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([3, 4]), 20)
    """

    def __init__(self, in_features: int, out_features: int, *, normalisation: str = "symmetric") -> None:
        super().__init__()
        if normalisation not in ("symmetric", "rows"):
            raise UsageError(
                f"normalisation is {normalisation!r}",
                where="HypergraphConvolution",
                todo='Give "symmetric" or "rows".',
            )
        self.normalisation = normalisation
        self.linear = nn.Linear(
            positive(in_features, "in_features", self), positive(out_features, "out_features", self), bias=False
        )
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return y, [..., nodes, out_features]."""
        # Without weights there are as many hyperedges as the memberships name.
        hyperedges = _count(edges) if weights is None else weights.numel()
        check_weights(weights, hyperedges, self, of="hyperedges")
        check_graph(x, edges, self.linear.in_features, self, targets=hyperedges)
        if self.linear.in_features < self.linear.out_features:
            y: Tensor = self.linear(self._mix(x, edges, hyperedges, weights))
            return y
        return self._mix(self.linear(x), edges, hyperedges, weights)

    def _mix(self, x: Tensor, edges: Tensor, hyperedges: int, weights: Tensor | None) -> Tensor:
        nodes = x.shape[-2]
        ones = x.new_ones(edges.shape[1])
        weight = x.new_ones(hyperedges) if weights is None else weights.to(x.dtype)
        share = weight * inverse(degrees(edges[1], ones, hyperedges))
        degree = degrees(edges[0], weight[edges[1]], nodes)
        before, after = (0.5, 0.5) if self.normalisation == "symmetric" else (0, 1)
        scaled = x * inverse(degree, before)[:, None] if before else x
        gathered = neighbour_sum(scaled, edges, nodes=hyperedges) * share[:, None]
        return neighbour_sum(gathered, edges.flip(0), nodes=nodes) * inverse(degree, after)[:, None]


class HGNN(nn.Module):
    """Hypergraph neural network: hypergraph convolutions with ReLU and dropout between them.

    ``network(x, edges)`` maps [..., nodes, features] to logits [..., nodes, classes], ``edges`` [2, memberships]
    holding (node, hyperedge). With two layers it has hidden (features + classes) parameters. By default it is the
    paper's for Cora, whose hyperedges are each paper with those it cites: 1,433 words, 16 hidden units, 7 classes;
    23,040 parameters. Source: ``feng2019hypergraph``.

    Parameters
    ----------
    features, classes
        Numbers per node, in and out.
    hidden
        Numbers per node between the layers.
    layers
        How many there are.
    normalisation
        As in ``HypergraphConvolution``.
    dropout
        Probability with which a number between the layers is left out in training.

    Raises
    ------
    UsageError
        As ``HypergraphConvolution``; a probability outside [0, 1).

    Examples
    --------
    >>> network = HGNN()
    >>> network(torch.zeros(3, 1433), torch.tensor([[0, 1, 2], [0, 0, 0]])).shape
    torch.Size([3, 7])
    >>> sum(p.numel() for p in network.parameters())
    23040
    """

    def __init__(
        self,
        features: int = 1433,
        classes: int = 7,
        *,
        hidden: int = 16,
        layers: int = 2,
        normalisation: str = "symmetric",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = [features, *[hidden] * (positive(layers, "layers", self) - 1), classes]
        self.layers = nn.ModuleList(
            HypergraphConvolution(fan_in, fan_out, normalisation=normalisation) for fan_in, fan_out in pairwise(widths)
        )
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))

    def forward(self, x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the logits of each node, [..., nodes, classes]."""
        for number, layer in enumerate(self.layers):
            x = layer(self.dropout(self.activation(x)) if number else x, edges, weights)
        return x


def _count(edges: Tensor) -> int:
    whole = edges.ndim == 2 and len(edges) == 2 and edges.dtype == torch.int64
    return int(edges[1].max()) + 1 if whole and edges.numel() else 0


def _small_hypergraph(n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Draw n samples on twelve nodes, of which three neighbours each are a hyperedge."""
    first = torch.arange(12)
    memberships = torch.stack([torch.cat([first, (first + 1) % 12, (first + 2) % 12]), first.repeat(3)])
    return {"x": torch.randn(n, 12, 1433, generator=generator), "edges": memberships}


SPECIMENS = (
    Specimen(
        name="hgnn",
        title="hypergraph convolutional network for a citation graph",
        build=HGNN,
        inputs=_small_hypergraph,
        parameters=23_040,
        formula="Z = S ReLU(S X Θ₀) Θ₁ with S = D^(−1/2) H W B⁻¹ Hᵀ D^(−1/2), H the nodes' memberships in hyperedges "
        "of weights W, D the nodes' and B the hyperedges' degrees: nodes give their mean to hyperedges, and they to "
        "nodes.",
        source="feng2019hypergraph",
        pinned_by="tests/models/test_hypergraph.py::test_where_hyperedges_join_two_nodes_it_is_half_a_graph_convolution",
    ),
)
